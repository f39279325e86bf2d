package interop;

import com.google.protobuf.DescriptorProtos.FileDescriptorSet;
import com.google.protobuf.Descriptors.Descriptor;
import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.Descriptors.FileDescriptor;
import com.google.protobuf.Message;
import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.util.HashMap;
import java.util.Map;

/**
 * The original's generated classes as oracle. With "descriptors" it writes the descriptors of all v1 files, as one
 * FileDescriptorSet. With "bytes" it reads records (a message's full name and its bytes, each behind its length as four
 * bytes, big endian) until the end, and answers each with the bytes that the original's class makes of them, behind a byte
 * that is 1 when the class did not know some of it, and their length.
 */
final class Oracle {
  private static final String[] FILES = {"", "scheduler.", "executor.", "master.", "agent.", "maintenance.", "quota.", "allocator.", "resource_provider."};

  private static final Map<String, Message> prototypes = new HashMap<>();

  public static void main(String[] args) throws Exception {
    FileDescriptorSet.Builder set = FileDescriptorSet.newBuilder();
    for (String file : FILES) {
      String outer = "org.apache.mesos.v1." + file + "Protos";
      FileDescriptor d = (FileDescriptor) Class.forName(outer).getMethod("getDescriptor").invoke(null);
      set.addFile(d.toProto());
      for (Descriptor m : d.getMessageTypes()) {
        learn(outer, m);
      }
    }
    DataOutputStream out = new DataOutputStream(new BufferedOutputStream(System.out));
    if (args[0].equals("descriptors")) {
      set.build().writeTo(out);
    } else {
      answer(new DataInputStream(new BufferedInputStream(System.in)), out);
    }
    out.flush();
  }

  private static void learn(String outer, Descriptor m) throws ReflectiveOperationException {
    if (m.getOptions().getMapEntry()) {
      return; // it has no class
    }
    String name = outer + "$" + m.getName();
    prototypes.put(m.getFullName(), (Message) Class.forName(name).getMethod("getDefaultInstance").invoke(null));
    for (Descriptor nested : m.getNestedTypes()) {
      learn(name, nested);
    }
  }

  private static void answer(DataInputStream in, DataOutputStream out) throws IOException {
    for (int n = in.read(); n >= 0; n = in.read()) {
      byte[] name = in.readNBytes(n << 24 | in.readUnsignedByte() << 16 | in.readUnsignedShort());
      byte[] bytes = in.readNBytes(in.readInt());
      Message prototype = prototypes.get(new String(name, "UTF-8"));
      if (prototype == null) {
        throw new IOException("the original has no message " + new String(name, "UTF-8"));
      }
      Message m = prototype.getParserForType().parseFrom(bytes);
      byte[] again = m.toByteArray();
      out.writeByte(knowsAll(m) ? 0 : 1);
      out.writeInt(again.length);
      out.write(again);
    }
  }

  private static boolean knowsAll(Message m) {
    if (!m.getUnknownFields().asMap().isEmpty()) {
      return false;
    }
    for (Map.Entry<FieldDescriptor, Object> e : m.getAllFields().entrySet()) {
      if (e.getKey().getJavaType() != FieldDescriptor.JavaType.MESSAGE) {
        continue;
      }
      Iterable<?> values = e.getKey().isRepeated() ? (Iterable<?>) e.getValue() : java.util.List.of(e.getValue());
      for (Object v : values) {
        if (!knowsAll((Message) v)) {
          return false;
        }
      }
    }
    return true;
  }
}
