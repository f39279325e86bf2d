package interop;

import com.google.protobuf.ByteString;
import com.mesosphere.mesos.rx.java.AwaitableSubscription;
import com.mesosphere.mesos.rx.java.SinkOperation;
import com.mesosphere.mesos.rx.java.SinkOperations;
import com.mesosphere.mesos.rx.java.protobuf.ProtobufMesosClientBuilder;
import com.mesosphere.mesos.rx.java.util.UserAgentEntries;
import java.net.URI;
import java.nio.ByteBuffer;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.apache.mesos.v1.Protos.ExecutorID;
import org.apache.mesos.v1.Protos.FrameworkID;
import org.apache.mesos.v1.Protos.TaskID;
import org.apache.mesos.v1.Protos.TaskInfo;
import org.apache.mesos.v1.Protos.TaskState;
import org.apache.mesos.v1.Protos.TaskStatus;
import org.apache.mesos.v1.executor.Protos.Call;
import org.apache.mesos.v1.executor.Protos.Event;
import rx.Observable;
import rx.subjects.PublishSubject;
import rx.subjects.SerializedSubject;

/**
 * An executor on mesos-rxjava: several tasks in one process, words both ways, and a new subscription whenever the agent is away.
 * What a task does its name says. In protobuf.
 */
final class Executor {
  private static final FrameworkID FRAMEWORK = FrameworkID.newBuilder().setValue(System.getenv("MESOS_FRAMEWORK_ID")).build();
  private static final ExecutorID EXECUTOR = ExecutorID.newBuilder().setValue(System.getenv("MESOS_EXECUTOR_ID")).build();
  private static final URI AGENT = URI.create("http://" + System.getenv("MESOS_AGENT_ENDPOINT") + "/api/v1/executor");
  private static final Event LOST = Event.newBuilder().setType(Event.Type.UNKNOWN).build(); // of our own: the stream has ended

  private final Map<String, TaskInfo> launched = new LinkedHashMap<>(); // tasks that go on
  private final Map<String, TaskInfo> tasks = new LinkedHashMap<>(); // those of which no update was acknowledged yet
  private final Map<ByteString, Call.Update> updates = new LinkedHashMap<>(); // those that were not acknowledged yet
  private final LinkedBlockingQueue<Event> events = new LinkedBlockingQueue<>();
  private SerializedSubject<SinkOperation<Call>, SinkOperation<Call>> calls;
  private boolean wasHere;

  private static Call.Builder call(Call.Type type) {
    return Call.newBuilder().setType(type).setFrameworkId(FRAMEWORK).setExecutorId(EXECUTOR);
  }

  /** Subscribes, with all that the agent may not know, and returns once the stream has ended. */
  private void live() throws InterruptedException {
    SerializedSubject<SinkOperation<Call>, SinkOperation<Call>> calls = new SerializedSubject<>(PublishSubject.create());
    this.calls = calls;
    AwaitableSubscription subscription = ProtobufMesosClientBuilder.executorUsingProtos()
        .mesosUri(AGENT)
        .applicationUserAgentEntry(UserAgentEntries.literal("interop", "1"))
        .subscribe(call(Call.Type.SUBSCRIBE).setSubscribe(Call.Subscribe.newBuilder()
            .addAllUnacknowledgedTasks(tasks.values()).addAllUnacknowledgedUpdates(updates.values())).build())
        .processStream(stream -> {
          Observable<Optional<SinkOperation<Call>>> nothing = stream.doOnNext(events::add).map(event -> Optional.empty());
          return nothing.mergeWith(calls.onBackpressureBuffer().map(Optional::of));
        })
        .onBackpressureBuffer()
        .build()
        .openStream();
    Thread waits = new Thread(() -> {
      try {
        subscription.await();
      } catch (Throwable e) {
        System.err.println("the stream ended with " + e);
      }
      events.add(LOST);
    });
    waits.setDaemon(true);
    waits.start();
    for (Event event = events.take(); event != LOST; event = events.take()) {
      hear(event);
    }
    subscription.unsubscribe();
  }

  /** Sends a call and waits until it is answered, or cannot be: each has a connection of its own, so that one could overtake another. */
  private void send(Call.Builder call) throws InterruptedException {
    CountDownLatch answered = new CountDownLatch(1);
    calls.onNext(SinkOperations.create(call.build(), answered::countDown, e -> {
      System.err.println(call.getType() + " came to " + e);
      answered.countDown();
    }));
    if (!answered.await(10, TimeUnit.SECONDS)) {
      System.err.println(call.getType() + " was not answered");
    }
  }

  private void say(String words) throws InterruptedException {
    send(call(Call.Type.MESSAGE).setMessage(Call.Message.newBuilder().setData(ByteString.copyFromUtf8(words))));
  }

  /** Notes an update, so that a new subscription tells it when nobody hears it now. */
  private Call.Update note(TaskID task, TaskState state, String message) {
    UUID id = UUID.randomUUID();
    ByteString uuid = ByteString.copyFrom(ByteBuffer.allocate(16).putLong(id.getMostSignificantBits()).putLong(id.getLeastSignificantBits()).array());
    Call.Update update = Call.Update.newBuilder().setStatus(TaskStatus.newBuilder().setTaskId(task).setExecutorId(EXECUTOR).setState(state)
        .setSource(TaskStatus.Source.SOURCE_EXECUTOR).setUuid(uuid).setMessage(message).setTimestamp(System.currentTimeMillis() / 1000.0)).build();
    updates.put(uuid, update);
    if (state != TaskState.TASK_RUNNING) {
      launched.remove(task.getValue());
    }
    return update;
  }

  private void tell(TaskID task, TaskState state, String message) throws InterruptedException {
    send(call(Call.Type.UPDATE).setUpdate(note(task, state, message)));
  }

  private void hear(Event event) throws InterruptedException {
    switch (event.getType()) {
      case SUBSCRIBED -> subscribed();
      case LAUNCH -> launch(event.getLaunch().getTask());
      case KILL -> tell(event.getKill().getTaskId(), TaskState.TASK_KILLED, "");
      case ACKNOWLEDGED -> {
        updates.remove(event.getAcknowledged().getUuid());
        tasks.remove(event.getAcknowledged().getTaskId().getValue());
      }
      case MESSAGE -> {
        String words = event.getMessage().getData().toStringUtf8();
        say("heard " + words);
        if (launched.containsKey(words)) {
          tell(launched.get(words).getTaskId(), TaskState.TASK_FINISHED, "it was told to");
        }
      }
      case SHUTDOWN -> System.exit(0);
      case ERROR -> {
        System.err.println("the agent said " + event.getError().getMessage());
        System.exit(1);
      }
      default -> { }
    }
  }

  private void subscribed() throws InterruptedException {
    if (!wasHere) {
      wasHere = true;
      return;
    }
    say("back");
    for (TaskInfo task : List.copyOf(launched.values())) {
      if (task.getName().startsWith("held")) {
        tell(task.getTaskId(), TaskState.TASK_RUNNING, "");
        tell(task.getTaskId(), TaskState.TASK_FINISHED, "it was in hand");
      }
    }
  }

  private void launch(TaskInfo task) throws InterruptedException {
    TaskID id = task.getTaskId();
    launched.put(id.getValue(), task);
    tasks.put(id.getValue(), task);
    String does = task.getName().replaceFirst("-.*", "");
    if (does.equals("held")) { // of it the agent hears nothing before its crash
      say("holds " + id.getValue());
      return;
    }
    tell(id, TaskState.TASK_RUNNING, "");
    switch (does) {
      case "finishes" -> tell(id, TaskState.TASK_FINISHED, "it is done");
      case "fails" -> tell(id, TaskState.TASK_FAILED, "it was to fail");
      default -> { }
    }
  }

  /** What tasks do when the agent is gone: one ends, which nobody can be told now. */
  private void away() {
    for (TaskInfo task : List.copyOf(launched.values())) {
      if (task.getName().startsWith("away")) {
        note(task.getTaskId(), TaskState.TASK_FINISHED, "the agent was away");
      }
    }
  }

  public static void main(String[] args) throws Exception {
    Executor executor = new Executor();
    while (true) {
      executor.live();
      executor.away();
      Thread.sleep(200);
    }
  }
}
