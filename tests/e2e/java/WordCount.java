import java.time.Duration;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.LongDeserializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Produced;

/**
 * Kafka Streams counts words, exactly once: through a repartition topic, into a store with a changelog.
 *
 * bootstrap= in= out= (topics that exist) application= directory= lines=N prop.NAME=. Prints the counts as JSON.
 */
public final class WordCount {
    private static final List<String> WORDS = List.of("broker", "listener", "session", "stream", "window");

    public static void main(String[] argv) throws Exception {
        Args args = new Args(argv);
        Properties properties = new Properties();
        properties.put("bootstrap.servers", args.get("bootstrap"));
        int lines = (int) args.number("lines", 100);
        try (KafkaProducer<String, String> producer =
                new KafkaProducer<>(properties, new StringSerializer(), new StringSerializer())) {
            for (int i = 0; i < lines; i++) {
                producer.send(new ProducerRecord<>(args.get("in"), String.join(" ", WORDS.subList(0, i % WORDS.size() + 1))));
            }
        }

        StreamsBuilder builder = new StreamsBuilder();
        builder.<String, String>stream(args.get("in"))
                .flatMapValues(line -> Arrays.asList(line.split(" ")))
                .groupBy((key, word) -> word)
                .count()
                .toStream()
                .to(args.get("out"), Produced.with(Serdes.String(), Serdes.Long()));
        properties.put("application.id", args.get("application"));
        properties.put("state.dir", args.get("directory"));
        properties.put("processing.guarantee", StreamsConfig.EXACTLY_ONCE_V2);
        properties.put("default.key.serde", Serdes.String().getClass());
        properties.put("default.value.serde", Serdes.String().getClass());
        properties.put("auto.offset.reset", "earliest");
        properties.put("commit.interval.ms", "200");
        properties.put("replication.factor", "3");
        args.copyProperties(properties);
        try (KafkaStreams streams = new KafkaStreams(builder.build(), properties)) {
            streams.start();
            Map<String, Long> counts = await(args, due(lines));
            StringBuilder text = new StringBuilder();
            counts.forEach((word, count) -> text.append(text.length() == 0 ? "" : ", ").append('"').append(word).append("\": ").append(count));
            System.out.println("{" + text + "}");
        }
    }

    private static Map<String, Long> due(int lines) {
        Map<String, Long> due = new HashMap<>();
        for (int i = 0; i < lines; i++) {
            WORDS.subList(0, i % WORDS.size() + 1).forEach(word -> due.merge(word, 1L, Long::sum));
        }
        return due;
    }

    /** The last count of each word, as a read_committed consumer sees it: never more than is due. */
    private static Map<String, Long> await(Args args, Map<String, Long> due) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", args.get("bootstrap"));
        properties.put("group.id", args.get("application") + "-reader");
        properties.put("auto.offset.reset", "earliest");
        properties.put("isolation.level", "read_committed");
        Map<String, Long> counts = new TreeMap<>();
        long end = System.nanoTime() + Duration.ofSeconds(90).toNanos();
        try (KafkaConsumer<String, Long> consumer = new KafkaConsumer<>(properties, new StringDeserializer(), new LongDeserializer())) {
            consumer.subscribe(List.of(args.get("out")));
            while (!counts.equals(due) && System.nanoTime() < end) {
                for (ConsumerRecord<String, Long> record : consumer.poll(Duration.ofMillis(200))) {
                    counts.put(record.key(), record.value());
                }
            }
        }
        return counts;
    }
}
