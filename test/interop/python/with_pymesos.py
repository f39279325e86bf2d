"""pymesos launches, watches, reconciles, goes away, comes back with its id, kills, and ends."""
import sys

from pymesos import MesosSchedulerDriver, Scheduler
from watch import COMMANDS, Watch, task

FRAMEWORK = {"user": "root", "name": "interop-pymesos", "failover_timeout": 600, "checkpoint": True, "roles": ["interop"],
             "capabilities": [{"type": "MULTI_ROLE"}, {"type": "PARTITION_AWARE"}]}
watch = Watch()
pending = list(COMMANDS)


class Listener(Scheduler):
    def registered(self, driver, framework_id, master_info):
        watch.event("registered", framework_id["value"])

    def reregistered(self, driver, master_info):
        watch.event("reregistered", driver.framework_id)

    def resourceOffers(self, driver, offers):
        for offer in offers:
            tasks = [task(name, "agent_id", offer["agent_id"]) for name in pending]
            pending.clear()
            driver.launchTasks(offer["id"], tasks, {"refuse_seconds": 1})  # without tasks it declines

    def statusUpdate(self, driver, status):
        watch.update(status)

    def error(self, driver, message):
        watch.event("error", message)


def start(info):
    driver = MesosSchedulerDriver(Listener(), info, sys.argv[1])
    driver.start()
    return driver


driver = start(FRAMEWORK)
id = watch.wait_event("registered")
for name in ("finishes-1", "finishes-2"):
    watch.wait_update(name, "TASK_RUNNING")
    watch.wait_update(name, "TASK_FINISHED")
watch.wait_update("fails-1", "TASK_FAILED", message="Command exited with status 3")
agent = watch.wait_update("stays-1", "TASK_RUNNING")["agent_id"]

driver.reconcileTasks([{"task_id": {"value": "stays-1"}}])
watch.wait_update("stays-1", "TASK_RUNNING", "REASON_RECONCILIATION")
driver.reconcileTasks([{"task_id": {"value": "nobody-1"}}])
watch.wait_update("nobody-1", "TASK_UNKNOWN", "REASON_RECONCILIATION")
driver.reconcileTasks([])
watch.wait_update("stays-1", "TASK_RUNNING", "REASON_RECONCILIATION")

driver.stop(failover=True)
driver.join()
driver = start({**FRAMEWORK, "id": {"value": id}})
if watch.wait_event("reregistered") != id:
    sys.exit("FAILED: the framework came back with another id")
driver.reconcileTasks([])
watch.wait_update("stays-1", "TASK_RUNNING", "REASON_RECONCILIATION")
driver.suppressOffers()
driver.reviveOffers()
driver.killTask({"value": "stays-1"})
watch.wait_update("stays-1", "TASK_KILLED")
driver.stop()
driver.join()
if "error" in watch.events:
    sys.exit("FAILED: the master said " + watch.events["error"])
