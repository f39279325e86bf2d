package interop;

import java.io.IOException;
import java.net.URI;
import java.util.List;
import java.util.Map;
import org.apache.mesos.v1.Protos.AgentInfo;
import org.apache.mesos.v1.Protos.CommandInfo;
import org.apache.mesos.v1.Protos.ContainerID;
import org.apache.mesos.v1.Protos.FrameworkID;
import org.apache.mesos.v1.agent.Protos.Call;
import org.apache.mesos.v1.agent.Protos.ProcessIO;
import org.apache.mesos.v1.agent.Protos.Response;

/** An operator who asks an agent what there is while a task runs, reads a file of one that has ended, and runs a command beside it. */
record AgentOperator(URI agent) {
  private Response ask(Call.Type type) throws IOException, InterruptedException {
    return ask(Call.newBuilder().setType(type));
  }

  private Response ask(Call.Builder call) throws IOException, InterruptedException {
    Response r = Response.parseFrom(Wire.post(agent, call.build()));
    Wire.want(r.getType().name(), call.getType().name(), "the type of the agent's answer");
    return r;
  }

  /** What the agent says then, and what a command beside the task says. */
  void check(FrameworkID id, AgentInfo info) throws Exception {
    Wire.want(ask(Call.Type.GET_HEALTH).getGetHealth().getHealthy(), true, "the agent's health");
    Wire.want(ask(Call.Type.GET_AGENT).getGetAgent().getAgentInfo().getId(), info.getId(), "the agent's id");
    Wire.want(ask(Call.Type.GET_VERSION).getGetVersion().getVersionInfo().getVersion(), "1.11.0", "the agent's version");
    Wire.until("one executor on the agent", () -> ask(Call.Type.GET_EXECUTORS).getGetExecutors().getExecutorsCount() == 1);
    Wire.want(Operator.states(ask(Call.Type.GET_TASKS).getGetTasks().getLaunchedTasksList()), Operator.RUNS, "the tasks of the agent");
    Wire.want(ask(Call.Type.GET_FRAMEWORKS).getGetFrameworks().getFrameworks(0).getFrameworkInfo().getId(), id, "the framework on the agent");
    Response.GetState all = ask(Call.Type.GET_STATE).getGetState();
    Wire.want(List.of(all.getGetTasks().getLaunchedTasksCount(), all.getGetExecutors().getExecutorsCount(), all.getGetFrameworks().getFrameworksCount()), List.of(1, 1, 1),
        "the numbers of tasks, executors and frameworks on the agent");
    Map<String, Double> n = Operator.numbers(ask(Call.newBuilder().setType(Call.Type.GET_METRICS)
        .setGetMetrics(Call.GetMetrics.newBuilder())).getGetMetrics().getMetricsList());
    Wire.want(List.of(n.get("slave/tasks_running"), n.get("slave/tasks_finished"), n.get("slave/tasks_failed"), n.get("slave/registered")), List.of(1.0, 2.0, 1.0, 1.0), "the agent's numbers");

    Wire.until("one container on the agent", () -> ask(Call.Type.GET_CONTAINERS).getGetContainers().getContainersCount() == 1);
    List<Response.GetContainers.Container> containers = ask(Call.Type.GET_CONTAINERS).getGetContainers().getContainersList();
    ContainerID container = containers.get(0).getContainerId();
    Wire.want(containers.get(0).getFrameworkId(), id, "the container's framework");
    Wire.want(ProcessHandle.of(containers.get(0).getContainerStatus().getExecutorPid()).isPresent(), true, "that the container's process lives");
    Wire.want(containers.get(0).getResourceStatistics().getMemLimitBytes() > 0, true, "that the container's memory is bounded");

    String stdout = "/frameworks/" + id.getValue() + "/executors/finishes-2/runs/latest/stdout";
    String said = ask(Call.newBuilder().setType(Call.Type.READ_FILE)
        .setReadFile(Call.ReadFile.newBuilder().setPath(stdout).setOffset(0))).getReadFile().getData().toStringUtf8();
    Wire.want(said.contains("done\n"), true, "that finishes-2 said done, in " + said);

    Wire.Stream<Call, ProcessIO> session = new Wire.Stream<>(agent, Call.newBuilder()
        .setType(Call.Type.LAUNCH_NESTED_CONTAINER_SESSION)
        .setLaunchNestedContainerSession(Call.LaunchNestedContainerSession.newBuilder()
            .setContainerId(ContainerID.newBuilder().setValue("beside").setParent(container))
            .setCommand(CommandInfo.newBuilder().setShell(true).setValue("echo beside the task; exec sleep 1000"))).build(),
        Call.PARSER, ProcessIO.PARSER);
    session.next("what the command says", io -> io.getData().getType() == ProcessIO.Data.Type.STDOUT && io.getData().getData().toStringUtf8().equals("beside the task\n"));
    session.close();
  }
}
