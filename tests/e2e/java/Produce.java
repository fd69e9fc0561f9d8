import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Properties;
import java.util.Random;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Produces numbered records round robin over the partitions and prints their digests.
 *
 * bootstrap= topic= size= seed=; count=N records, or count=stdin: until a line comes on standard input;
 * rate= records a second (0: no limit); random=true: values that do not compress.
 */
public final class Produce {
    private static final int BLOCK = 1 << 17;

    /** The text filler is the same in every client of these tests. */
    private static byte[] filler(boolean random, String seed) {
        byte[] block = new byte[BLOCK];
        if (random) {
            new Random(seed.hashCode()).nextBytes(block);
        } else {
            for (int i = 0; i < block.length; i++) {
                block[i] = (byte) ('a' + i % 26);
            }
        }
        return block;
    }

    private static byte[] value(String seed, long index, int size, byte[] filler) {
        byte[] head = (seed + ":" + index + ":").getBytes(StandardCharsets.US_ASCII);
        byte[] value = Arrays.copyOf(head, size);
        for (int at = head.length; at < size; at += BLOCK) {
            System.arraycopy(filler, 0, value, at, Math.min(BLOCK, size - at));
        }
        return value;
    }

    public static void main(String[] argv) throws Exception {
        Args args = new Args(argv);
        Properties properties = new Properties();
        properties.put("bootstrap.servers", args.get("bootstrap"));
        properties.put("acks", "all");
        args.copyProperties(properties);
        int size = (int) args.number("size", 1024);
        String seed = args.get("seed", "s");
        boolean untilLine = args.get("count").equals("stdin");
        long count = untilLine ? Long.MAX_VALUE : args.number("count", 0);
        double rate = args.number("rate", 0);
        byte[] filler = filler(Boolean.parseBoolean(args.get("random", "false")), seed);
        StdinLine stop = untilLine ? new StdinLine() : null;
        Digests digests = new Digests();
        AtomicReference<Exception> failure = new AtomicReference<>();
        long start = System.nanoTime();

        try (KafkaProducer<byte[], byte[]> producer =
                new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer())) {
            int partitions = producer.partitionsFor(args.get("topic")).size();
            for (long i = 0; i < count && failure.get() == null; i++) {
                if (stop != null && stop.get() != null) {
                    break;
                }
                int partition = (int) (i % partitions);
                byte[] value = value(seed, i, size, filler);
                digests.add(partition, value);
                producer.send(new ProducerRecord<>(args.get("topic"), partition, null, value), (metadata, e) -> {
                    if (e != null) {
                        failure.compareAndSet(null, e);
                    }
                });
                if (rate > 0) {
                    long due = start + (long) ((i + 1) * 1e9 / rate);
                    long ahead = due - System.nanoTime();
                    if (ahead > 0) {
                        Thread.sleep(ahead / 1_000_000, (int) (ahead % 1_000_000));
                    }
                }
            }
            producer.flush();
        }
        if (failure.get() != null) {
            System.err.println("produce failed: " + failure.get());
            System.exit(1);
        }
        digests.print((System.nanoTime() - start) / 1e9);
    }
}
