package interop;

import java.io.IOException;
import java.net.URI;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.apache.mesos.v1.Protos.AgentID;
import org.apache.mesos.v1.Protos.AgentInfo;
import org.apache.mesos.v1.Protos.FrameworkID;
import org.apache.mesos.v1.Protos.Metric;
import org.apache.mesos.v1.Protos.Resource;
import org.apache.mesos.v1.Protos.Task;
import org.apache.mesos.v1.Protos.TaskState;
import org.apache.mesos.v1.master.Protos.Call;
import org.apache.mesos.v1.master.Protos.Event;
import org.apache.mesos.v1.master.Protos.Response;

/**
 * An operator who follows a master's events while mesos-rxjava's scheduler runs its tasks, asks master and agent what there is,
 * and tears the framework down. In protobuf.
 */
final class Operator {
  static final Map<String, TaskState> RUNS = Map.of("stays-1", TaskState.TASK_RUNNING);
  private static final Map<String, TaskState> ENDED =
      Map.of("finishes-1", TaskState.TASK_FINISHED, "finishes-2", TaskState.TASK_FINISHED, "fails-1", TaskState.TASK_FAILED);

  private final URI master;
  private final AgentOperator agent;

  private Operator(String master, String agent) {
    this.master = URI.create("http://" + master + "/api/v1");
    this.agent = new AgentOperator(URI.create("http://" + agent + "/api/v1"));
  }

  private Response ask(Call.Type type) throws IOException, InterruptedException {
    return ask(Call.newBuilder().setType(type));
  }

  private Response ask(Call.Builder call) throws IOException, InterruptedException {
    Response r = Response.parseFrom(Wire.post(master, call.build()));
    Wire.want(r.getType().name(), call.getType().name(), "the type of the master's answer");
    return r;
  }

  static Map<String, Double> numbers(List<Metric> metrics) {
    Map<String, Double> out = new HashMap<>();
    metrics.forEach(m -> out.put(m.getName(), m.getValue()));
    return out;
  }

  static double sum(List<Resource> resources, String name) {
    double n = resources.stream().filter(r -> r.getName().equals(name)).mapToDouble(r -> r.getScalar().getValue()).sum();
    return Math.round(n * 1000) / 1000.0;
  }

  static Map<String, TaskState> states(List<Task> tasks) {
    return new TreeMap<>(tasks.stream().collect(Collectors.toMap(Task::getName, Task::getState)));
  }

  private void watch() throws Exception {
    Wire.Stream<Call, Event> stream = new Wire.Stream<>(master, Call.newBuilder().setType(Call.Type.SUBSCRIBE).build(), Call.PARSER, Event.PARSER);
    Event.Subscribed subscribed = stream.next("SUBSCRIBED", e -> true).getSubscribed();
    Wire.want(subscribed.getHeartbeatIntervalSeconds(), 15.0, "seconds between heartbeats");
    List<Response.GetAgents.Agent> agents = subscribed.getGetState().getGetAgents().getAgentsList();
    Wire.want(agents.size(), 1, "agents in SUBSCRIBED");
    Wire.want(subscribed.getGetState().getGetTasks().getTasksCount(), 0, "tasks in SUBSCRIBED");
    AgentInfo info = agents.get(0).getAgentInfo();
    Wire.want(agents.get(0).getActive(), true, "whether the agent is active");
    Wire.want(info.getPort(), agent.agent().getPort(), "the agent's port");
    Wire.want(sum(info.getResourcesList(), "cpus"), sum(agents.get(0).getTotalResourcesList(), "cpus"), "the agent's cpus");
    Wire.want(stream.next("the first heartbeat", e -> true).getType(), Event.Type.HEARTBEAT, "the second event");

    Scheduler scheduler = new Scheduler(URI.create("http://" + master.getAuthority() + "/api/v1/scheduler"), Scheduler.info("interop-operator"));
    scheduler.launchAll();
    FrameworkID id = scheduler.subscribed();
    Wire.want(stream.next("FRAMEWORK_ADDED", e -> e.getType() == Event.Type.FRAMEWORK_ADDED).getFrameworkAdded().getFramework().getFrameworkInfo().getId(), id, "the framework added");
    AgentID where = scheduler.runUntilOneStays();
    Wire.want(where, info.getId(), "the agent where tasks run");
    Map<String, TaskState> told = new TreeMap<>();
    int added = 0;
    Map<String, TaskState> all = new TreeMap<>(ENDED);
    all.putAll(RUNS);
    while (!told.equals(all)) {
      Event e = stream.next("the states of four tasks; there were " + told, x -> x.getType() == Event.Type.TASK_ADDED || x.getType() == Event.Type.TASK_UPDATED);
      if (e.getType() == Event.Type.TASK_ADDED) {
        Wire.want(e.getTaskAdded().getTask().getFrameworkId(), id, "the framework of a task added");
        added++;
      } else {
        Wire.want(e.getTaskUpdated().getFrameworkId(), id, "the framework of a task updated");
        told.put(e.getTaskUpdated().getStatus().getTaskId().getValue(), e.getTaskUpdated().getState());
      }
    }
    Wire.want(added, 4, "tasks added");

    master(id, info);
    agent.check(id, info);

    scheduler.kill("stays-1", where);
    stream.next("TASK_UPDATED to KILLED", e -> e.getType() == Event.Type.TASK_UPDATED && e.getTaskUpdated().getState() == TaskState.TASK_KILLED);
    Wire.post(master, Call.newBuilder().setType(Call.Type.TEARDOWN).setTeardown(Call.Teardown.newBuilder().setFrameworkId(id)).build());
    Wire.want(stream.next("FRAMEWORK_REMOVED", e -> e.getType() == Event.Type.FRAMEWORK_REMOVED).getFrameworkRemoved().getFrameworkInfo().getId(), id, "the framework removed");
    Response.GetState past = ask(Call.Type.GET_STATE).getGetState();
    Wire.want(past.getGetFrameworks().getFrameworksCount(), 0, "frameworks in the end");
    Wire.want(past.getGetFrameworks().getCompletedFrameworks(0).getFrameworkInfo().getId(), id, "the framework that is past");
    Wire.want(past.getGetTasks().getCompletedTasksCount(), 4, "tasks that are past");
    stream.close();
  }

  /** What the master says while one of four tasks runs. */
  private void master(FrameworkID id, AgentInfo info) throws Exception {
    Wire.want(ask(Call.Type.GET_HEALTH).getGetHealth().getHealthy(), true, "the master's health");
    Wire.want(ask(Call.Type.GET_VERSION).getGetVersion().getVersionInfo().getVersion(), "1.11.0", "the master's version");
    Wire.want(ask(Call.Type.GET_MASTER).getGetMaster().getMasterInfo().getPort(), master.getPort(), "the master's port");
    Wire.want(ask(Call.Type.GET_FLAGS).getGetFlags().getFlagsList().stream().anyMatch(f -> f.getName().equals("work_dir")), true, "the master's flag work_dir");

    Wire.until("the tasks of the master to be the one that stays", () -> states(ask(Call.Type.GET_TASKS).getGetTasks().getTasksList()).equals(RUNS));
    Response.GetTasks tasks = ask(Call.Type.GET_TASKS).getGetTasks();
    Wire.want(states(tasks.getCompletedTasksList()), ENDED, "the past tasks of the master");
    Response.GetFrameworks.Framework framework = ask(Call.Type.GET_FRAMEWORKS).getGetFrameworks().getFrameworks(0);
    Wire.want(framework.getFrameworkInfo().getId(), id, "the framework");
    Wire.want(framework.getActive() && framework.getConnected(), true, "that the framework is active and connected");
    Wire.want(sum(framework.getAllocatedResourcesList(), "mem"), 32.0, "the framework's memory");
    Response.GetAgents.Agent agent = ask(Call.Type.GET_AGENTS).getGetAgents().getAgents(0);
    Wire.want(agent.getAgentInfo().getId(), info.getId(), "the agent");
    Wire.want(sum(agent.getAllocatedResourcesList(), "cpus"), 0.1, "the agent's allocated cpus");
    Wire.want(ask(Call.Type.GET_ROLES).getGetRoles().getRolesList().stream().anyMatch(r -> r.getName().equals("interop") && r.getFrameworksList().contains(id)
        && sum(r.getResourcesList(), "mem") == 32), true, "the role with its framework and resources");
    Response.GetState all = ask(Call.Type.GET_STATE).getGetState();
    Wire.want(List.of(all.getGetAgents().getAgentsCount(), all.getGetFrameworks().getFrameworksCount(), all.getGetTasks().getTasksCount(), all.getGetTasks().getCompletedTasksCount()),
        List.of(1, 1, 1, 3), "the numbers of agents, frameworks, tasks and past tasks");
    Map<String, Double> n = numbers(ask(Call.newBuilder().setType(Call.Type.GET_METRICS).setGetMetrics(Call.GetMetrics.newBuilder())).getGetMetrics().getMetricsList());
    Wire.want(List.of(n.get("master/slaves_active"), n.get("master/frameworks_active"), n.get("master/tasks_running"), n.get("master/tasks_finished"), n.get("master/tasks_failed")),
        List.of(1.0, 1.0, 1.0, 2.0, 1.0), "the master's numbers");
  }

  public static void main(String[] args) throws Exception {
    new Operator(args[0], args[1]).watch();
    System.exit(0);
  }
}
