import java.io.ByteArrayOutputStream;
import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;

/**
 * Prints the lines of kafka-responses.txt in every version that the kafka-clients on the class path know, made by Kafka's own
 * classes. What a version does not have is left out of it, so one description serves all versions of an API.
 */
public final class Vectors {
    private static final String PACKAGE = "org.apache.kafka.common.message.";
    private static final Uuid TOPIC = Uuid.fromString("AAECAwQFBgcICQoLDA0ODw");
    private static final int CORRELATION_ID = 42;
    /** The tag that the filter gives to what it erases, and that no schema has. */
    private static final int ERASED = 0x7f;

    /** An object of a message: its class behind the response's, and its fields as name, value, name, value ... */
    record Node(String type, Object... fields) {}

    /** Where brokers 1 and 2 are: as a broker says it, or as a client is to see it. */
    record Place(String host1, int port1, String host2, int port2) {}

    private static final Place BROKERS = new Place("b1.example", 9092, "b2.example", 9093);
    private static final Place LISTENERS = new Place("127.0.0.1", 19001, "127.0.0.1", 19002);

    /** What of a description a version has: all that its schema knows. */
    interface Description {
        Object[] fields(int version, Place at);
    }

    private static Object[] of(Object... fields) {
        return fields;
    }

    private static Object[] metadata(int version, Place at) {
        Node partition = new Node("MetadataResponsePartition", "partitionIndex", 0, "leaderId", 1, "leaderEpoch", 5,
                "replicaNodes", List.of(1, 2), "isrNodes", List.of(1), "offlineReplicas", List.of(2));
        return of("brokers", List.of(
                        new Node("MetadataResponseBroker", "nodeId", 1, "host", at.host1, "port", at.port1, "rack", version >= 1 ? "r1" : null),
                        new Node("MetadataResponseBroker", "nodeId", 2, "host", at.host2, "port", at.port2)),
                "clusterId", version >= 2 ? "c1" : null, "controllerId", version >= 1 ? 1 : -1,
                "topics", List.of(new Node("MetadataResponseTopic", "name", "t", "topicId", version >= 10 ? TOPIC : Uuid.ZERO_UUID,
                        "partitions", List.of(partition))));
    }

    private static Object[] findCoordinator(int version, Place at) {
        if (version < 4) {
            return of("errorMessage", null, "nodeId", 1, "host", at.host1, "port", at.port1);
        }
        return of("coordinators", List.of(
                new Node("Coordinator", "key", "g", "nodeId", 1, "host", at.host1, "port", at.port1, "errorMessage", null),
                new Node("Coordinator", "key", "h", "nodeId", -1, "host", "", "port", -1, "errorCode", (short) 15, "errorMessage", "na")));
    }

    private static Object[] describeCluster(int version, Place at) {
        return of("clusterId", "c1", "controllerId", 1, "brokers",
                List.of(new Node("DescribeClusterBroker", "brokerId", 1, "host", at.host1, "port", at.port1)));
    }

    private static List<Node> endpoint(Place at, String rack) {
        return at == null ? List.of() : List.of(new Node("NodeEndpoint", "nodeId", 2, "host", at.host2, "port", at.port2, "rack", rack));
    }

    private static Object[] produce(int version, Place at) {
        Node partition = version < 10
                ? new Node("PartitionProduceResponse", "errorCode", (short) 6, "baseOffset", -1L, "errorMessage", null)
                : new Node("PartitionProduceResponse", "errorCode", (short) 6, "baseOffset", -1L, "errorMessage", null,
                        "currentLeader", leader());
        return of("responses", List.of(version < 13
                        ? new Node("TopicProduceResponse", "name", "t", "partitionResponses", List.of(partition))
                        : new Node("TopicProduceResponse", "topicId", TOPIC, "partitionResponses", List.of(partition))),
                "nodeEndpoints", version < 10 ? List.of() : endpoint(at, "r1"));
    }

    private static Node leader() {
        return new Node("LeaderIdAndEpoch", "leaderId", 2, "leaderEpoch", 6);
    }

    private static Object[] fetch(int version, Place at) {
        Node first = new Node("PartitionData", "highWatermark", 9L, "lastStableOffset", version >= 4 ? 9L : -1L,
                "logStartOffset", version >= 5 ? 0L : -1L, "abortedTransactions",
                version >= 4 ? List.of(new Node("AbortedTransaction", "producerId", 3L, "firstOffset", 4L)) : null, "records", records("RRRR"));
        List<Object> second = new ArrayList<>(List.of("partitionIndex", 1, "errorCode", (short) 6, "highWatermark", -1L));
        second.addAll(Arrays.asList("abortedTransactions", null));
        if (version >= 12) {
            second.addAll(List.of("currentLeader", leader()));
        }
        List<Node> partitions = List.of(first, new Node("PartitionData", second.toArray()));
        return of("sessionId", version >= 7 ? 7 : 0, "responses", List.of(version < 13
                        ? new Node("FetchableTopicResponse", "topic", "t", "partitions", partitions)
                        : new Node("FetchableTopicResponse", "topicId", TOPIC, "partitions", partitions)),
                "nodeEndpoints", version < 16 ? List.of() : endpoint(at, null));
    }

    private static Object[] shareFetch(int version, Place at) {
        Node partition = new Node("PartitionData", "errorCode", (short) 6, "currentLeader", leader(), "records", records("RR"),
                "acquiredRecords", List.of(new Node("AcquiredRecords", "firstOffset", 1L, "lastOffset", 2L, "deliveryCount", (short) 1)));
        return of("acquisitionLockTimeoutMs", version >= 1 ? 30000 : 0,
                "responses", List.of(new Node("ShareFetchableTopicResponse", "topicId", TOPIC, "partitions", List.of(partition))),
                "nodeEndpoints", endpoint(at, null));
    }

    private static Object[] shareAcknowledge(int version, Place at) {
        Node partition = new Node("PartitionData", "errorCode", (short) 6, "currentLeader", leader());
        return of("acquisitionLockTimeoutMs", version >= 2 ? 30000 : 0,
                "responses", List.of(new Node("ShareAcknowledgeTopicResponse", "topicId", TOPIC, "partitions", List.of(partition))),
                "nodeEndpoints", endpoint(at, null));
    }

    /** Bytes in place of records. Their class has moved to another package in Kafka 4. */
    private static Object records(String bytes) {
        for (String home : List.of("org.apache.kafka.common.record.internal.", "org.apache.kafka.common.record.")) {
            try {
                return Class.forName(home + "MemoryRecords").getMethod("readableRecords", ByteBuffer.class)
                        .invoke(null, ByteBuffer.wrap(bytes.getBytes(StandardCharsets.US_ASCII)));
            } catch (ClassNotFoundException elsewhere) {
                continue;
            } catch (ReflectiveOperationException e) {
                throw new IllegalStateException(e);
            }
        }
        throw new IllegalStateException("there is no class MemoryRecords");
    }

    /** Sets the fields of an object by name; one that this release's schema does not have is none of its versions'. */
    private static <T> T fill(T object, String api, Object[] fields) throws ReflectiveOperationException {
        for (int i = 0; i < fields.length; i += 2) {
            String name = (String) fields[i];
            for (Method setter : object.getClass().getMethods()) {
                if (setter.getName().startsWith("set") && setter.getName().equalsIgnoreCase("set" + name)) {
                    setter.invoke(object, value(fields[i + 1], api, setter.getParameterTypes()[0]));
                }
            }
        }
        return object;
    }

    private static Object value(Object given, String api, Class<?> wanted) throws ReflectiveOperationException {
        if (given instanceof Node node) {
            return fill(Class.forName(PACKAGE + api + "ResponseData$" + node.type).getConstructor().newInstance(), api, node.fields);
        }
        if (!(given instanceof List<?> list)) {
            return given;
        }
        List<Object> values = new ArrayList<>();
        for (Object each : list) {
            values.add(value(each, api, Object.class));
        }
        if (wanted.isInstance(values)) {
            return values;
        }
        return wanted.getConstructor(java.util.Iterator.class).newInstance(values.iterator()); // Kafka's own collections
    }

    private static byte[] frame(ApiMessageType type, int version, Object[] fields) throws ReflectiveOperationException {
        Message message = fill((Message) type.newResponse(), type.name, fields);
        ObjectSerializationCache cache = new ObjectSerializationCache();
        int header = type.responseHeaderVersion((short) version) >= 1 ? 5 : 4;
        int size = header + message.size(cache, (short) version);
        ByteBuffer buffer = ByteBuffer.allocate(4 + size);
        buffer.putInt(size).putInt(CORRELATION_ID).position(4 + header);
        message.write(new ByteBufferAccessor(buffer), cache, (short) version);
        return buffer.array();
    }

    /** The frame without its endpoints, made as long as it was by a tagged field of zeros behind everything else. */
    private static byte[] erased(byte[] without, int size) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        out.write(without, 0, without.length - 1); // the count of tagged fields, 0, is the last byte
        int zeros = size - without.length - 2;
        if (without[without.length - 1] != 0 || zeros < 0 || zeros > 0x7f) {
            throw new IllegalStateException("not a frame whose endpoints can be erased");
        }
        out.write(1);
        out.write(ERASED);
        out.write(zeros);
        out.writeBytes(new byte[zeros]);
        byte[] result = out.toByteArray();
        ByteBuffer.wrap(result).putInt(size - 4);
        return result;
    }

    private static void print(ApiMessageType type, int version, String kind, byte[] input, byte[] expected) {
        HexFormat hex = HexFormat.of();
        System.out.printf("%sResponse %d %s %s %s%n", type.name, version, kind, hex.formatHex(input), hex.formatHex(expected));
    }

    private static void print(ApiMessageType type, int firstWithEndpoints, Description description) throws ReflectiveOperationException {
        for (int version = type.lowestSupportedVersion(); version <= type.highestSupportedVersion(true); version++) {
            byte[] input = frame(type, version, description.fields(version, BROKERS));
            print(type, version, "REWRITE", input, frame(type, version, description.fields(version, LISTENERS)));
            if (version >= firstWithEndpoints) {
                print(type, version, "NEUTRAL", input, erased(frame(type, version, description.fields(version, null)), input.length));
            }
        }
    }

    public static void main(String[] args) throws Exception {
        int none = Integer.MAX_VALUE;
        print(ApiMessageType.METADATA, none, Vectors::metadata);
        print(ApiMessageType.FIND_COORDINATOR, none, Vectors::findCoordinator);
        print(ApiMessageType.DESCRIBE_CLUSTER, none, Vectors::describeCluster);
        print(ApiMessageType.PRODUCE, 10, Vectors::produce);
        print(ApiMessageType.FETCH, 16, Vectors::fetch);
        print(ApiMessageType.SHARE_FETCH, 0, Vectors::shareFetch);
        print(ApiMessageType.SHARE_ACKNOWLEDGE, 0, Vectors::shareAcknowledge);
    }
}
