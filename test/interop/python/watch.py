"""What the programs here share: the tasks they launch, and updates that are waited for. Python 3.6 can read it."""
import sys
import threading

# Each task ends in its own way; the last one stays until it is killed.
COMMANDS = {"finishes-1": "true", "finishes-2": "echo done", "fails-1": "exit 3", "stays-1": "exec sleep 1000"}
PATIENCE = 60  # seconds that anything may take


def task(name, agent_key, agent_id):
    """A TaskInfo, with the agent's id under the key that the client's own users write."""
    scalar = lambda n, v: {"name": n, "type": "SCALAR", "scalar": {"value": v}}
    return {"task_id": {"value": name}, "name": name, agent_key: agent_id, "resources": [scalar("cpus", 0.1), scalar("mem", 32)],
            "command": {"shell": True, "value": COMMANDS[name]}}


class Watch:
    """Events by name, and the updates of tasks; any thread tells, one waits."""

    def __init__(self):
        self.changed, self.updates, self.events = threading.Condition(), [], {}

    def update(self, status):
        with self.changed:
            self.updates.append(status)
            self.changed.notify_all()
        print("update %s %s %s %s" % (status["task_id"]["value"], status["state"], status.get("reason", ""), status.get("message", "")), flush=True)

    def event(self, name, value):
        with self.changed:
            self.events[name] = value
            self.changed.notify_all()
        print("event", name, flush=True)

    def wait(self, what, found):
        """Whatever found returns that is true."""
        with self.changed:
            got = self.changed.wait_for(found, PATIENCE)
            return got or sys.exit("FAILED: waited %d seconds for %s" % (PATIENCE, what))

    def wait_event(self, name):
        return self.wait(name, lambda: self.events.pop(name, None))

    def wait_update(self, name, state, reason=None, message=""):
        """An update of a task, which is forgotten then."""
        def found():
            for s in self.updates:
                if s["task_id"]["value"] == name and s["state"] == state and message in s.get("message", "") and reason in (None, s.get("reason")):
                    self.updates.remove(s)
                    return s
        return self.wait("%s of %s" % (state, name), found)
