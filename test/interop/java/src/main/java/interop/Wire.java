package interop;

import com.google.protobuf.Message;
import com.google.protobuf.Parser;
import com.google.protobuf.TextFormat;
import com.mesosphere.mesos.rx.java.AwaitableSubscription;
import com.mesosphere.mesos.rx.java.MesosClientBuilder;
import com.mesosphere.mesos.rx.java.SinkOperation;
import com.mesosphere.mesos.rx.java.util.MessageCodec;
import com.mesosphere.mesos.rx.java.util.UserAgentEntries;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.Predicate;

/**
 * Ways to speak an operator's API: mesos-rxjava reads streams. It takes no answer but 202, which operators' calls do not have, so
 * they go through Java's own HTTP client, with the same classes.
 */
final class Wire {
  private static final HttpClient HTTP = HttpClient.newHttpClient();

  /** mesos-rxjava brings codecs for schedulers and executors alone, and lets others bring theirs. */
  private record Codec<T extends Message>(Parser<T> parser) implements MessageCodec<T> {
    public byte[] encode(T message) {
      return message.toByteArray();
    }

    public T decode(byte[] bytes) {
      try {
        return parser.parseFrom(bytes);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    public T decode(InputStream in) {
      try {
        return parser.parseFrom(in);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    public String mediaType() {
      return "application/x-protobuf";
    }

    public String show(T message) {
      return TextFormat.shortDebugString(message);
    }
  }

  /** What comes in answer to one call, read by mesos-rxjava. */
  static final class Stream<C extends Message, E extends Message> {
    private final LinkedBlockingQueue<E> events = new LinkedBlockingQueue<>();
    private final AwaitableSubscription subscription;

    Stream(URI uri, C call, Parser<C> calls, Parser<E> answers) {
      subscription = MesosClientBuilder.<C, E>newBuilder()
          .mesosUri(uri)
          .applicationUserAgentEntry(UserAgentEntries.literal("interop", "1"))
          .sendCodec(new Codec<>(calls))
          .receiveCodec(new Codec<>(answers))
          .subscribe(call)
          .processStream(stream -> stream.doOnNext(events::add).map(event -> Optional.<SinkOperation<C>>empty()))
          .onBackpressureBuffer()
          .build()
          .openStream();
    }

    /** The next event that is wanted; others are passed over. */
    E next(String what, Predicate<E> wanted) throws InterruptedException {
      while (true) {
        E event = events.poll(Scheduler.PATIENCE, TimeUnit.SECONDS);
        if (event == null) {
          Scheduler.fail("waited " + Scheduler.PATIENCE + " seconds for " + what);
        }
        if (wanted.test(event)) {
          return event;
        }
      }
    }

    void close() {
      subscription.unsubscribe();
    }
  }

  /** The body of the answer to a call. */
  static byte[] post(URI uri, Message call) throws IOException, InterruptedException {
    HttpResponse<byte[]> r = HTTP.send(HttpRequest.newBuilder(uri).header("Content-Type", "application/x-protobuf").header("Accept", "application/x-protobuf")
        .POST(HttpRequest.BodyPublishers.ofByteArray(call.toByteArray())).build(), HttpResponse.BodyHandlers.ofByteArray());
    want(r.statusCode(), 200, "the status of the answer to " + TextFormat.shortDebugString(call) + ": " + new String(r.body()));
    want(r.headers().firstValue("Content-Type").orElse(""), r.body().length == 0 ? "" : "application/x-protobuf", "the type of the answer to " + TextFormat.shortDebugString(call));
    return r.body();
  }

  static void want(Object got, Object want, String what) {
    if (!got.equals(want)) {
      Scheduler.fail(what + ": got " + got + ", want " + want);
    }
  }

  /** Waits for what comes a moment after what was told: acknowledgements are on their way, and processes end. */
  static void until(String what, Callable<Boolean> holds) throws Exception {
    for (long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(Scheduler.PATIENCE); !holds.call(); Thread.sleep(50)) {
      if (System.nanoTime() > end) {
        Scheduler.fail("waited " + Scheduler.PATIENCE + " seconds for " + what);
      }
    }
  }
}
