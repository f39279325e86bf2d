"""pymesos launches tasks in an executor, talks with it, kills its agent under it, and ends it.

Arguments: the master, the agent, the shell commands that kill the agent and start it again. The executor is pymesos too, or what
the environment's EXECUTOR runs."""
import os
import subprocess
import sys

from pymesos import MesosOperatorAgentDriver, MesosOperatorMasterDriver, MesosSchedulerDriver, Scheduler, decode_data, encode_data
from watch import Watch

MASTER, AGENT, KILL, START = sys.argv[1:5]
HERE = os.path.dirname(os.path.abspath(__file__))
COMMAND = os.environ.get("EXECUTOR", "PYTHONDONTWRITEBYTECODE=1 exec %s %s" % (sys.executable, os.path.join(HERE, "executor_with_pymesos.py")))
FRAMEWORK = {"user": "root", "name": "interop-executor", "failover_timeout": 600, "checkpoint": True, "roles": ["interop"],
             "capabilities": [{"type": "MULTI_ROLE"}, {"type": "PARTITION_AWARE"}]}
scalar = lambda n, v: {"name": n, "type": "SCALAR", "scalar": {"value": v}}
EXECUTOR = {"type": "CUSTOM", "executor_id": {"value": "works"}, "resources": [scalar("cpus", 0.1), scalar("mem", 256)], "command": {"value": COMMAND}}
watch = Watch()
pending = []


class Listener(Scheduler):
    def registered(self, driver, framework_id, master_info):
        watch.event("registered", framework_id["value"])

    def resourceOffers(self, driver, offers):
        for offer in offers:
            tasks = [{"task_id": {"value": n}, "name": n, "agent_id": offer["agent_id"], "executor": EXECUTOR, "resources": [scalar("cpus", 0.1), scalar("mem", 16)]} for n in pending]
            pending.clear()
            if tasks:
                watch.event("agent", offer["agent_id"])
            driver.launchTasks(offer["id"], tasks, {"refuse_seconds": 1})

    def statusUpdate(self, driver, status):
        watch.update(status)

    def frameworkMessage(self, driver, executor_id, agent_id, message):
        watch.event(decode_data(message).decode(), True)

    def executorLost(self, driver, executor_id, agent_id, status):
        watch.event("executor lost", executor_id["value"])

    def error(self, driver, message):
        watch.event("error", message)


driver = MesosSchedulerDriver(Listener(), FRAMEWORK, MASTER)
driver.start()
id = watch.wait_event("registered")
pending.extend(["finishes-1", "finishes-2", "fails-1", "told-1", "stays-1", "told-2", "away-1", "held-1"])
for name in ("finishes-1", "finishes-2"):
    watch.wait_update(name, "TASK_RUNNING")
    watch.wait_update(name, "TASK_FINISHED", message="it is done")
watch.wait_update("fails-1", "TASK_FAILED", message="it was to fail")
for name in ("told-1", "told-2", "stays-1", "away-1"):
    watch.wait_update(name, "TASK_RUNNING")
agent = watch.wait_event("agent")

say = lambda words: driver.sendFrameworkMessage({"value": "works"}, agent, encode_data(words.encode()))
watch.wait_event("holds held-1")
say("told-1")
watch.wait_event("heard told-1")
watch.wait_update("told-1", "TASK_FINISHED", message="it was told to")

executors = MesosOperatorAgentDriver(AGENT).getExecutors()["get_executors"]["executors"]
if [e["executor_info"]["executor_id"]["value"] for e in executors] != ["works"]:
    sys.exit("FAILED: the agent shows the executors %s" % executors)
tasks = MesosOperatorMasterDriver(MASTER).getTasks()["get_tasks"]["tasks"]
if {t["task_id"]["value"] for t in tasks if t["framework_id"]["value"] == id} != {"told-2", "stays-1", "away-1", "held-1"}:
    sys.exit("FAILED: the master shows the tasks %s" % tasks)

subprocess.check_call(KILL, shell=True)
say("told-2")  # nobody hears it
subprocess.check_call(START, shell=True)
watch.wait_event("back")
watch.wait_update("away-1", "TASK_FINISHED", message="the agent was away")
watch.wait_update("held-1", "TASK_RUNNING")
watch.wait_update("held-1", "TASK_FINISHED", message="it was in hand")
say("told-2")
watch.wait_update("told-2", "TASK_FINISHED", message="it was told to")
driver.killTask({"value": "stays-1"})
watch.wait_update("stays-1", "TASK_KILLED")
driver.stop()
driver.join()
if "error" in watch.events:
    sys.exit("FAILED: the master said " + watch.events["error"])
