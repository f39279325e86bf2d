"""An executor on pymesos: several tasks in one process, words both ways. What a task does its name says."""
import sys
import threading
import time

from pymesos import Executor, MesosExecutorDriver, decode_data, encode_data


class Works(Executor):
    def __init__(self):
        self.waiting = {}  # an event for each task
        self.away = threading.Event()
        self.back = threading.Event()

    def update(self, driver, task_id, state, message=""):
        while True:
            try:
                return driver.sendStatusUpdate({"task_id": task_id, "state": state, "message": message})
            except Exception as e:  # the agent is away: it is told again
                print("an update waits:", e, file=sys.stderr, flush=True)
                time.sleep(0.2)

    def launchTask(self, driver, task):
        id = task["task_id"]
        name = id["value"].rsplit("-", 1)[0]

        def run():
            if name == "held":  # of it the agent hears nothing before its crash
                driver.sendFrameworkMessage(encode_data(("holds " + id["value"]).encode()))
                self.back.wait()
            self.update(driver, id, "TASK_RUNNING")
            if name == "finishes":
                self.update(driver, id, "TASK_FINISHED", "it is done")
            elif name == "fails":
                self.update(driver, id, "TASK_FAILED", "it was to fail")
            elif name == "told":
                self.waiting[id["value"]].wait()
                self.update(driver, id, "TASK_FINISHED", "it was told to")
            elif name == "away":
                self.away.wait()
                self.update(driver, id, "TASK_FINISHED", "the agent was away")
            elif name == "held":
                self.update(driver, id, "TASK_FINISHED", "it was in hand")

        self.waiting[id["value"]] = threading.Event()
        threading.Thread(target=run, daemon=True).start()

    def killTask(self, driver, task_id):
        self.update(driver, task_id, "TASK_KILLED")

    def frameworkMessage(self, driver, message):
        words = decode_data(message).decode()
        driver.sendFrameworkMessage(encode_data(("heard " + words).encode()))
        if words in self.waiting:
            self.waiting[words].set()

    def disconnected(self, driver):
        self.away.set()

    def reregistered(self, driver, agent_info):
        self.back.set()
        driver.sendFrameworkMessage(encode_data(b"back"))


driver = MesosExecutorDriver(Works())
driver.run()
