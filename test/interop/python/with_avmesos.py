"""avmesos, or mesoshttp that it came from, launches, watches, reconciles, is followed by a second one with its id, kills, and ends.

Arguments: which of the two, and the master. They read events by lines, and a line ends with the next record's length: so
each event is seen when the next one comes, at the latest with a heartbeat."""
import importlib
import sys
import threading

from watch import COMMANDS, Watch, task

PACKAGE, MASTER = sys.argv[1:3]
MesosClient = importlib.import_module(PACKAGE + ".client").MesosClient
watch = Watch()
pending = list(COMMANDS)


def offers(offered):
    for offer in offered:
        if pending:
            tasks = [task(name, "agent_id", offer.get_offer()["agent_id"]) for name in pending]
            pending.clear()
            offer.accept(tasks, {"filters": {"refuse_seconds": 1}})
        else:
            offer.decline({"filters": {"refuse_seconds": 5}})


def subscribed(name):
    def told(driver):
        watch.event(name, driver)
    return told


def start(name, id=None):
    client = MesosClient(["http://" + MASTER], frameworkId=id, frameworkName="interop-" + PACKAGE, frameworkUser="root", max_reconnect=1)
    client.set_role("interop")
    client.set_failover_timeout(600)
    client.add_capability("PARTITION_AWARE")
    client.on(MesosClient.SUBSCRIBED, subscribed(name))
    client.on(MesosClient.OFFERS, offers)
    client.on(MesosClient.UPDATE, lambda update: watch.update(update["status"]))
    client.on(MesosClient.ERROR, lambda message: watch.event(name + ": error", message))
    threading.Thread(target=client.register, daemon=True).start()  # register returns when the stream ends
    return client, watch.wait_event(name)


client, driver = start("first")
for name in ("finishes-1", "finishes-2"):
    watch.wait_update(name, "TASK_RUNNING")
    watch.wait_update(name, "TASK_FINISHED")
watch.wait_update("fails-1", "TASK_FAILED", message="Command exited with status 3")
agent = watch.wait_update("stays-1", "TASK_RUNNING")["agent_id"]["value"]

driver.reconcile([{"task_id": {"value": "stays-1"}, "agent_id": {"value": agent}}])
watch.wait_update("stays-1", "TASK_RUNNING", "REASON_RECONCILIATION")
driver.reconcile([{"task_id": {"value": "nobody-1"}}])
watch.wait_update("nobody-1", "TASK_UNKNOWN", "REASON_RECONCILIATION")

second, driver = start("second", client.frameworkId)
watch.wait_event("first: error")  # it was failed over
if second.frameworkId != client.frameworkId:
    sys.exit("FAILED: the framework came back with another id")
driver.reconcile([{"task_id": {"value": "stays-1"}}])
watch.wait_update("stays-1", "TASK_RUNNING", "REASON_RECONCILIATION")
if PACKAGE == "avmesos":  # mesoshttp has no such call
    driver.suppress()
driver.revive()
driver.kill(agent, "stays-1")
watch.wait_update("stays-1", "TASK_KILLED")
driver.tearDown()
if "second: error" in watch.events:
    sys.exit("FAILED: the master said " + watch.events["second: error"])
