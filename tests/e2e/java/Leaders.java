import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.TreeSet;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewPartitionReassignment;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.errors.ElectionNotNeededException;
import org.apache.kafka.common.errors.RetriableException;

/**
 * Moves the leaders of topics whose replicas are fewer than the brokers, as lines on standard input say:
 *
 * order: turns the order of the replicas around and elects the preferred leaders;
 * replicas: gives each partition to other brokers, without the present leader.
 *
 * bootstrap= topics=A,B; deadline= seconds for each line. Prints for each {"moved": partitions with a new leader} when it is done.
 */
public final class Leaders {
    private final Admin admin;
    private final List<String> topics;
    private final long seconds;

    private Leaders(Admin admin, Args args) {
        this.admin = admin;
        this.topics = List.of(args.get("topics").split(","));
        this.seconds = args.number("deadline", 60);
    }

    private interface Condition {
        boolean holds() throws Exception;
    }

    /** Brokers may be leaving or coming: what can be tried again is. */
    private void until(String what, Condition condition) throws Exception {
        long end = System.nanoTime() + seconds * 1_000_000_000L;
        Exception last = null;
        while (System.nanoTime() < end) {
            try {
                if (condition.holds()) {
                    return;
                }
            } catch (ExecutionException e) {
                if (!(e.getCause() instanceof RetriableException)) {
                    throw e;
                }
                last = e;
            }
            Thread.sleep(50);
        }
        throw new IllegalStateException("not within " + seconds + " s: " + what, last);
    }

    private Map<TopicPartition, TopicPartitionInfo> partitions() throws Exception {
        Map<TopicPartition, TopicPartitionInfo> found = new HashMap<>();
        for (TopicDescription topic : admin.describeTopics(topics).allTopicNames().get().values()) {
            topic.partitions().forEach(p -> found.put(new TopicPartition(topic.name(), p.partition()), p));
        }
        return found;
    }

    private static List<Integer> ids(List<Node> nodes) {
        List<Integer> ids = new ArrayList<>();
        nodes.forEach(node -> ids.add(node.id()));
        return ids;
    }

    private static int leader(TopicPartitionInfo partition) {
        return partition.leader() == null ? -1 : partition.leader().id();
    }

    /** The present leader last, or gone for a broker that has no replica yet. */
    private List<Integer> wanted(TopicPartitionInfo partition, boolean others, TreeSet<Integer> brokers) {
        List<Integer> replicas = ids(partition.replicas());
        int leader = leader(partition);
        List<Integer> free = new ArrayList<>(brokers);
        free.removeAll(replicas);
        replicas.remove((Integer) leader);
        replicas.add(others ? free.get(0) : leader);
        return replicas;
    }

    private void reassign(Map<TopicPartition, List<Integer>> wanted) throws Exception {
        Map<TopicPartition, Optional<NewPartitionReassignment>> reassignments = new HashMap<>();
        wanted.forEach((partition, replicas) -> reassignments.put(partition, Optional.of(new NewPartitionReassignment(replicas))));
        admin.alterPartitionReassignments(reassignments).all().get();
        until("reassignment", () -> admin.listPartitionReassignments(wanted.keySet()).reassignments().get().isEmpty()
                && partitions().entrySet().stream().allMatch(e -> ids(e.getValue().replicas()).equals(wanted.get(e.getKey()))
                        && e.getValue().isr().size() == wanted.get(e.getKey()).size()
                        && wanted.get(e.getKey()).contains(leader(e.getValue()))));
    }

    private void elect(Map<TopicPartition, List<Integer>> wanted) throws Exception {
        until("election", () -> {
            Map<TopicPartition, Optional<Throwable>> outcome =
                    admin.electLeaders(ElectionType.PREFERRED, wanted.keySet()).partitions().get();
            outcome.values().removeIf(e -> e.isEmpty() || e.get() instanceof ElectionNotNeededException);
            return outcome.isEmpty();
        });
        until("preferred leaders", () -> partitions().entrySet().stream()
                .allMatch(e -> leader(e.getValue()) == wanted.get(e.getKey()).get(0)));
    }

    private long move(String how) throws Exception {
        until("leaders for all partitions", () -> partitions().values().stream().allMatch(p -> leader(p) >= 0));
        Map<TopicPartition, TopicPartitionInfo> before = partitions();
        TreeSet<Integer> brokers = new TreeSet<>(ids(new ArrayList<>(admin.describeCluster().nodes().get())));
        Map<TopicPartition, List<Integer>> wanted = new HashMap<>();
        before.forEach((partition, info) -> wanted.put(partition, wanted(info, how.equals("replicas"), brokers)));
        reassign(wanted);
        if (how.equals("order")) {
            elect(wanted);
        }
        Map<TopicPartition, TopicPartitionInfo> after = partitions();
        return before.keySet().stream().filter(p -> leader(after.get(p)) != leader(before.get(p))).count();
    }

    public static void main(String[] argv) throws Exception {
        Args args = new Args(argv);
        Properties properties = new Properties();
        properties.put("bootstrap.servers", args.get("bootstrap"));
        args.copyProperties(properties);
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
        try (Admin admin = Admin.create(properties)) {
            Leaders leaders = new Leaders(admin, args);
            for (String line = input.readLine(); line != null; line = input.readLine()) {
                System.out.println("{\"moved\": " + leaders.move(line.trim()) + "}");
                System.out.flush();
            }
        }
    }
}
