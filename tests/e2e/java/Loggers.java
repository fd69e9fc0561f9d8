import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.common.config.ConfigResource;

/**
 * Sets the level of a logger of running brokers (KIP-412): bootstrap= nodes=1,2,3 logger= level=. Without a level it is again what
 * the logger above it has.
 */
public final class Loggers {
    public static void main(String[] argv) throws Exception {
        Args args = new Args(argv);
        String level = args.get("level", "");
        AlterConfigOp operation = new AlterConfigOp(new ConfigEntry(args.get("logger"), level),
                level.isEmpty() ? AlterConfigOp.OpType.DELETE : AlterConfigOp.OpType.SET);
        Map<ConfigResource, Collection<AlterConfigOp>> changes = new HashMap<>();
        for (String node : args.get("nodes").split(",")) {
            changes.put(new ConfigResource(ConfigResource.Type.BROKER_LOGGER, node), new ArrayList<>(List.of(operation)));
        }
        Properties properties = new Properties();
        properties.put("bootstrap.servers", args.get("bootstrap"));
        try (Admin admin = Admin.create(properties)) {
            admin.incrementalAlterConfigs(changes).all().get();
        }
    }
}
