package interop;

import com.mesosphere.mesos.rx.java.AwaitableSubscription;
import com.mesosphere.mesos.rx.java.SinkOperation;
import com.mesosphere.mesos.rx.java.SinkOperations;
import com.mesosphere.mesos.rx.java.protobuf.ProtobufMesosClientBuilder;
import com.mesosphere.mesos.rx.java.protobuf.SchedulerCalls;
import com.mesosphere.mesos.rx.java.util.UserAgentEntries;
import java.net.URI;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import org.apache.mesos.v1.Protos.AgentID;
import org.apache.mesos.v1.Protos.CommandInfo;
import org.apache.mesos.v1.Protos.Filters;
import org.apache.mesos.v1.Protos.FrameworkID;
import org.apache.mesos.v1.Protos.FrameworkInfo;
import org.apache.mesos.v1.Protos.Offer;
import org.apache.mesos.v1.Protos.Resource;
import org.apache.mesos.v1.Protos.TaskID;
import org.apache.mesos.v1.Protos.TaskInfo;
import org.apache.mesos.v1.Protos.TaskState;
import org.apache.mesos.v1.Protos.TaskStatus;
import org.apache.mesos.v1.Protos.Value;
import org.apache.mesos.v1.scheduler.Protos.Call;
import org.apache.mesos.v1.scheduler.Protos.Event;
import rx.Observable;
import rx.subjects.PublishSubject;
import rx.subjects.SerializedSubject;

/** mesos-rxjava launches, watches, reconciles, goes away, is followed by another with its id, kills, and ends. In protobuf. */
final class Scheduler {
  private static final Map<String, String> COMMANDS = Map.of("finishes-1", "true", "finishes-2", "echo done", "fails-1", "exit 3", "stays-1", "exec sleep 1000");
  static final long PATIENCE = 60; // seconds that anything may take
  private static final Predicate<TaskStatus> ANY = s -> true;

  private final FrameworkInfo info;
  private final LinkedBlockingQueue<Event> events = new LinkedBlockingQueue<>();
  private final SerializedSubject<SinkOperation<Call>, SinkOperation<Call>> calls = new SerializedSubject<>(PublishSubject.create());
  private final AwaitableSubscription subscription;
  private final List<TaskStatus> updates = new ArrayList<>(); // nobody waited for them yet
  private List<String> pending = new ArrayList<>();
  private FrameworkID id;

  Scheduler(URI master, FrameworkInfo info) {
    this.info = info;
    Call subscribe = Call.newBuilder().setType(Call.Type.SUBSCRIBE).setSubscribe(Call.Subscribe.newBuilder().setFrameworkInfo(info)).build();
    if (info.hasId()) {
      subscribe = subscribe.toBuilder().setFrameworkId(info.getId()).build();
    }
    subscription = ProtobufMesosClientBuilder.schedulerUsingProtos()
        .mesosUri(master)
        .applicationUserAgentEntry(UserAgentEntries.literal("interop", "1"))
        .subscribe(subscribe)
        .processStream(this::process)
        .onBackpressureBuffer()
        .build()
        .openStream();
  }

  /** Acknowledges each update by itself, and sends what is put into calls. */
  private Observable<Optional<SinkOperation<Call>>> process(Observable<Event> stream) {
    Observable<Optional<SinkOperation<Call>>> answers = stream.map(event -> {
      events.add(event);
      if (event.getType() != Event.Type.UPDATE || !event.getUpdate().getStatus().hasUuid()) {
        return Optional.<SinkOperation<Call>>empty();
      }
      TaskStatus s = event.getUpdate().getStatus();
      return Optional.of(SinkOperations.create(SchedulerCalls.ackUpdate(id, s.getUuid(), s.getAgentId(), s.getTaskId())));
    });
    return answers.mergeWith(calls.onBackpressureBuffer().map(Optional::of));
  }

  /** Sends a call and waits until it is answered: each has a connection of its own, so that one could overtake another. */
  private void send(Call.Builder call) throws InterruptedException {
    CountDownLatch answered = new CountDownLatch(1);
    calls.onNext(SinkOperations.create(call.setFrameworkId(id).build(), answered::countDown,
        e -> fail("the client reports that its " + call.getType() + " came to " + e)));
    if (!answered.await(PATIENCE, TimeUnit.SECONDS)) {
      fail("waited " + PATIENCE + " seconds for the answer to " + call.getType());
    }
  }

  /** Waits for an event and treats it. */
  private void step(String waitingFor) throws InterruptedException {
    Event event = events.poll(PATIENCE, TimeUnit.SECONDS);
    if (event == null) {
      fail("waited " + PATIENCE + " seconds for " + waitingFor);
    }
    switch (event.getType()) {
      case SUBSCRIBED -> id = event.getSubscribed().getFrameworkId();
      case OFFERS -> {
        for (Offer offer : event.getOffers().getOffersList()) {
          use(offer);
        }
      }
      case UPDATE -> {
        TaskStatus s = event.getUpdate().getStatus();
        System.out.println("update " + s.getTaskId().getValue() + " " + s.getState() + " " + (s.hasReason() ? s.getReason() : "") + " " + s.getMessage());
        updates.add(s);
      }
      case ERROR -> fail("the master said " + event.getError().getMessage());
      default -> { }
    }
  }

  private void use(Offer offer) throws InterruptedException {
    if (pending.isEmpty()) {
      send(Call.newBuilder().setType(Call.Type.DECLINE).setDecline(Call.Decline.newBuilder().addOfferIds(offer.getId()).setFilters(Filters.newBuilder().setRefuseSeconds(5))));
      return;
    }
    Offer.Operation.Launch.Builder launch = Offer.Operation.Launch.newBuilder();
    pending.forEach(name -> launch.addTaskInfos(TaskInfo.newBuilder().setName(name).setTaskId(task(name)).setAgentId(offer.getAgentId())
        .addResources(scalar("cpus", 0.1)).addResources(scalar("mem", 32))
        .setCommand(CommandInfo.newBuilder().setShell(true).setValue(COMMANDS.get(name)))));
    pending.clear();
    send(Call.newBuilder().setType(Call.Type.ACCEPT).setAccept(Call.Accept.newBuilder().addOfferIds(offer.getId())
        .addOperations(Offer.Operation.newBuilder().setType(Offer.Operation.Type.LAUNCH).setLaunch(launch))
        .setFilters(Filters.newBuilder().setRefuseSeconds(1))));
  }

  /** Waits for an update, which is forgotten then. */
  private TaskStatus update(String name, TaskState state, Predicate<TaskStatus> more) throws InterruptedException {
    while (true) {
      for (TaskStatus s : updates) {
        if (s.getTaskId().getValue().equals(name) && s.getState() == state && more.test(s)) {
          updates.remove(s);
          return s;
        }
      }
      step(state + " of " + name);
    }
  }

  FrameworkID subscribed() throws InterruptedException {
    while (id == null) {
      step("SUBSCRIBED");
    }
    return id;
  }

  /** All that COMMANDS has is launched with the next offer. */
  void launchAll() {
    pending = COMMANDS.keySet().stream().sorted().collect(Collectors.toList());
  }

  /** Waits until three tasks have ended as they must and one runs, and returns where. */
  AgentID runUntilOneStays() throws InterruptedException {
    for (String name : List.of("finishes-1", "finishes-2")) {
      update(name, TaskState.TASK_RUNNING, ANY);
      update(name, TaskState.TASK_FINISHED, ANY);
    }
    update("fails-1", TaskState.TASK_FAILED, s -> s.getMessage().equals("Command exited with status 3"));
    return update("stays-1", TaskState.TASK_RUNNING, ANY).getAgentId();
  }

  void kill(String name, AgentID agent) throws InterruptedException {
    send(Call.newBuilder().setType(Call.Type.KILL).setKill(Call.Kill.newBuilder().setTaskId(task(name)).setAgentId(agent)));
    update(name, TaskState.TASK_KILLED, ANY);
  }

  private void reconcile(String... names) throws InterruptedException {
    Call.Reconcile.Builder tasks = Call.Reconcile.newBuilder();
    for (String name : names) {
      tasks.addTasks(Call.Reconcile.Task.newBuilder().setTaskId(task(name)));
    }
    send(Call.newBuilder().setType(Call.Type.RECONCILE).setReconcile(tasks));
  }

  private static TaskID task(String name) {
    return TaskID.newBuilder().setValue(name).build();
  }

  private static Resource scalar(String name, double value) {
    return Resource.newBuilder().setName(name).setType(Value.Type.SCALAR).setScalar(Value.Scalar.newBuilder().setValue(value))
        .setAllocationInfo(Resource.AllocationInfo.newBuilder().setRole("interop")).build();
  }

  static void fail(String why) {
    System.out.println("FAILED: " + why);
    System.exit(1);
  }

  public static void main(String[] args) throws Exception {
    URI master = URI.create("http://" + args[0] + "/api/v1/scheduler");
    FrameworkInfo info = info("interop-mesos-rxjava");
    Predicate<TaskStatus> reconciled = s -> s.getReason() == TaskStatus.Reason.REASON_RECONCILIATION;

    Scheduler first = new Scheduler(master, info);
    first.launchAll();
    FrameworkID id = first.subscribed();
    AgentID agent = first.runUntilOneStays();

    first.reconcile("stays-1");
    first.update("stays-1", TaskState.TASK_RUNNING, reconciled);
    first.reconcile("nobody-1");
    first.update("nobody-1", TaskState.TASK_UNKNOWN, reconciled);
    first.reconcile();
    first.update("stays-1", TaskState.TASK_RUNNING, reconciled);

    first.subscription.unsubscribe();
    Scheduler second = new Scheduler(master, info.toBuilder().setId(id).build());
    if (!second.subscribed().equals(id)) {
      fail("the framework came back with another id");
    }
    second.reconcile();
    second.update("stays-1", TaskState.TASK_RUNNING, reconciled);
    second.send(Call.newBuilder().setType(Call.Type.SUPPRESS));
    second.send(Call.newBuilder().setType(Call.Type.REVIVE));
    second.kill("stays-1", agent);
    second.send(Call.newBuilder().setType(Call.Type.TEARDOWN));
    second.calls.onCompleted();
    try {
      second.subscription.await(); // the master ends the stream of a framework that ended
    } catch (Throwable e) {
      System.out.println("the stream ended with " + e);
    }
    System.exit(0);
  }

  static FrameworkInfo info(String name) {
    return FrameworkInfo.newBuilder().setUser("root").setName(name).setFailoverTimeout(600).setCheckpoint(true)
        .addRoles("interop").addCapabilities(capability(FrameworkInfo.Capability.Type.MULTI_ROLE)).addCapabilities(capability(FrameworkInfo.Capability.Type.PARTITION_AWARE))
        .build();
  }

  private static FrameworkInfo.Capability capability(FrameworkInfo.Capability.Type type) {
    return FrameworkInfo.Capability.newBuilder().setType(type).build();
  }
}
