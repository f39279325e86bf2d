"use strict";
// @dcos/mesos-client, which the web pages of DC/OS used, follows a master's events while mesos-framework runs its tasks, and asks
// master and agent what there is. It is made for browsers, so it is given an XMLHttpRequest.
global.XMLHttpRequest = require("./browser.js").XMLHttpRequest;
const { stream, request } = require("@dcos/mesos-client");
const { start, task, update, until, changed, fail } = require("./with_mesos_framework.js");

const [master, agent] = process.argv.slice(2, 4);
const events = []; // that nobody waited for yet

function want(got, wanted, what) {
  if (JSON.stringify(got) !== JSON.stringify(wanted)) fail(`${what}: got ${JSON.stringify(got)}, want ${JSON.stringify(wanted)}`);
}

// next waits for an event; others before it are passed over.
const next = (what, wanted) => until(what, () => {
  while (events.length > 0) {
    const e = events.shift();
    if (wanted(e)) return e;
  }
});

const ask = (server, type, more) => new Promise((resolve) => request({ type, ...more }, `http://${server}/api/v1`).subscribe(
  (answer) => resolve(JSON.parse(answer)[type.toLowerCase()]),
  (e) => fail(`${type} of ${server} came to ${JSON.stringify(e)}`),
));

const states = (tasks) => Object.fromEntries(tasks.map((t) => [t.name, t.state]).sort());
const numbers = (metrics, names) => names.map((n) => metrics.find((m) => m.name === n).value);
const ended = { "fails-1": "TASK_FAILED", "finishes-1": "TASK_FINISHED", "finishes-2": "TASK_FINISHED" };

async function main() {
  stream({ type: "SUBSCRIBE" }, `http://${master}/api/v1`).subscribe(
    (record) => {
      events.push(JSON.parse(record));
      changed();
    },
    (e) => fail("the stream came to " + JSON.stringify(e)),
    () => fail("the stream has ended"),
  );
  const { subscribed } = await next("SUBSCRIBED", () => true);
  want([subscribed.heartbeat_interval_seconds, subscribed.get_state.get_agents.agents.length], [15, 1], "seconds between heartbeats, and agents");
  want((await next("a heartbeat", () => true)).type, "HEARTBEAT", "the second event");

  const scheduler = await start({ finishes: task("true", 2), fails: task("exit 3", 1), stays: task("exec sleep 1000", 1) });
  const id = scheduler.frameworkId;
  want((await next("FRAMEWORK_ADDED", (e) => e.type === "FRAMEWORK_ADDED")).framework_added.framework.framework_info.id.value, id, "the framework added");
  const told = {};
  let added = 0;
  while (Object.keys(ended).some((n) => told[n] !== ended[n]) || told["stays-1"] !== "TASK_RUNNING") {
    const e = await next("the ends of three tasks", (e) => e.type === "TASK_ADDED" || e.type === "TASK_UPDATED");
    if (e.type === "TASK_ADDED") added++;
    else told[e.task_updated.status.task_id.value.split(".").find((s) => /-\d$/.test(s))] = e.task_updated.state;
  }
  want(added, 4, "tasks added");
  const stays = await update("stays-1", "TASK_RUNNING");
  for (const name of Object.keys(ended)) await update(name, ended[name]);

  let tasks;
  do { // acknowledgements are on their way
    tasks = await ask(master, "GET_TASKS");
  } while (tasks.completed_tasks.length < 3);
  want([states(tasks.tasks), states(tasks.completed_tasks)], [{ "stays-1": "TASK_RUNNING" }, ended], "the master's tasks");
  const { agents } = await ask(master, "GET_AGENTS");
  want(agents.map((a) => [a.active, a.agent_info.id.value, a.agent_info.port]), [[true, stays.agent_id.value, Number(agent.split(":")[1])]], "the master's agents");
  want((await ask(master, "GET_FRAMEWORKS")).frameworks.map((f) => [f.framework_info.id.value, f.active, f.connected]), [[id, true, true]], "the master's frameworks");
  want(numbers((await ask(master, "GET_METRICS", { get_metrics: {} })).metrics, ["master/tasks_running", "master/tasks_finished", "master/tasks_failed"]), [1, 2, 1], "the master's numbers");
  want(states((await ask(agent, "GET_TASKS")).launched_tasks), { "stays-1": "TASK_RUNNING" }, "the agent's tasks");
  want((await ask(agent, "GET_STATE")).get_frameworks.frameworks.map((f) => f.framework_info.id.value), [id], "the agent's frameworks");
  want(numbers((await ask(agent, "GET_METRICS", { get_metrics: {} })).metrics, ["slave/tasks_running", "slave/tasks_finished"]), [1, 2], "the agent's numbers");

  scheduler.kill(stays.task_id.value, stays.agent_id.value);
  await next("TASK_UPDATED to KILLED", (e) => e.type === "TASK_UPDATED" && e.task_updated.state === "TASK_KILLED");
  await update("stays-1", "TASK_KILLED");
  scheduler.leaving = true;
  scheduler.teardown();
  want((await next("FRAMEWORK_REMOVED", (e) => e.type === "FRAMEWORK_REMOVED")).framework_removed.framework_info.id.value, id, "the framework removed");
  process.exit(0);
}

main();
