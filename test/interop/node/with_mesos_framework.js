"use strict";
// mesos-framework launches, watches, reconciles, goes away, is followed by another with its id, kills, and ends. Its own
// handlers launch and acknowledge.
const { Scheduler, Mesos } = require("mesos-framework");
const mesos = Mesos.getMesos();

const [host, port] = process.argv[2].split(":");
const patience = 60 * 1000; // milliseconds that anything may take
const updates = []; // statuses that nobody waited for yet
let look = () => {}; // called when there is something new

const task = (command, instances) => ({
  instances,
  commandInfo: new mesos.CommandInfo(null, null, true, command, null, null),
  resources: { cpus: 0.1, mem: 32, ports: 0, disk: 0 },
});

function fail(why) {
  console.log("FAILED: " + why);
  process.exit(1);
}

// until resolves with what found returns, once that is something.
function until(what, found) {
  return new Promise((resolve) => {
    const timer = setTimeout(() => fail(`waited ${patience / 1000} seconds for ${what}`), patience);
    look = () => {
      const got = found();
      if (got !== undefined) {
        clearTimeout(timer);
        look = () => {};
        resolve(got);
      }
    };
    look();
  });
}

// update waits for a status of a task, by the name that its id carries, and forgets it.
function update(name, state, more) {
  return until(`${state} of ${name}`, () => {
    const i = updates.findIndex((s) => s.task_id.value.includes(`.${name}.`) && s.state === state && (!more || more(s)));
    return i < 0 ? undefined : updates.splice(i, 1)[0];
  });
}

const reconciled = (s) => s.reason === "REASON_RECONCILIATION";

// start subscribes, with an id when there is one, and resolves with the scheduler. It may lose its stream once it is told to.
function start(tasks, id) {
  const scheduler = new Scheduler({
    masterUrl: host, port, user: "root", frameworkName: "interop-mesos-framework", frameworkFailoverTimeout: 600,
    masterConnectionTimeout: 60, restartStates: ["TASK_ERROR"], tasks,
    logging: { path: process.env.LOGS, fileName: "mesos-framework.log", level: "info" },
  });
  if (id) scheduler.frameworkId = id;
  scheduler.on("update", (u) => {
    updates.push(u.status);
    console.log("update", u.status.task_id.value, u.status.state, u.status.reason || "", u.status.message || "");
    look();
  });
  scheduler.on("error", (e) => {
    if (!scheduler.leaving) fail("the client reports " + (e.message || e));
  });
  scheduler.on("ready", () => scheduler.subscribe());
  return new Promise((resolve) => scheduler.on("subscribed", () => resolve(scheduler)));
}

async function main() {
  const first = await start({ finishes: task("true", 2), fails: task("exit 3", 1), stays: task("exec sleep 1000", 1) });
  for (const name of ["finishes-1", "finishes-2"]) {
    await update(name, "TASK_RUNNING");
    await update(name, "TASK_FINISHED");
  }
  await update("fails-1", "TASK_FAILED", (s) => s.message === "Command exited with status 3");
  const stays = await update("stays-1", "TASK_RUNNING");

  first.reconcile(stays.task_id.value, stays.agent_id.value);
  await update("stays-1", "TASK_RUNNING", reconciled);
  first.reconcile(); // all of them
  await update("stays-1", "TASK_RUNNING", reconciled);

  first.leaving = true;
  first.httpRequest.destroy();
  const second = await start({}, first.frameworkId);
  if (second.frameworkId !== first.frameworkId) fail("the framework came back with another id");
  second.reconcile();
  await update("stays-1", "TASK_RUNNING", reconciled);
  second.revive();
  second.kill(stays.task_id.value, stays.agent_id.value);
  await update("stays-1", "TASK_KILLED");
  second.leaving = true;
  second.on("sent_teardown", () => process.exit(0));
  second.teardown();
}

module.exports = { start, task, update, until, changed: () => look(), fail };
if (require.main === module) main();
