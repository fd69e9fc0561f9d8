import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.DescribeClusterResult;
import org.apache.kafka.clients.admin.QuorumInfo;
import org.apache.kafka.common.Node;

/** An Admin that speaks to the KRaft controllers (KIP-919): prints where they are and who leads the metadata quorum. bootstrap= */
public final class Controllers {
    public static void main(String[] argv) throws Exception {
        Args args = new Args(argv);
        Properties properties = new Properties();
        properties.put("bootstrap.controllers", args.get("bootstrap"));
        args.copyProperties(properties);
        try (Admin admin = Admin.create(properties)) {
            DescribeClusterResult cluster = admin.describeCluster();
            Map<Integer, String> nodes = new TreeMap<>();
            for (Node node : cluster.nodes().get()) {
                nodes.put(node.id(), node.host() + ":" + node.port());
            }
            QuorumInfo quorum = admin.describeMetadataQuorum().quorumInfo().get();
            StringBuilder out = new StringBuilder("{\"nodes\": {");
            String comma = "";
            for (Map.Entry<Integer, String> node : nodes.entrySet()) {
                out.append(comma).append('"').append(node.getKey()).append("\": \"").append(node.getValue()).append('"');
                comma = ", ";
            }
            System.out.println(out.append("}, \"leader\": ").append(quorum.leaderId())
                    .append(", \"voters\": ").append(quorum.voters().size()).append('}'));
        }
    }
}
