import java.util.Properties;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;

/** Prints as JSON what the client says when it is not let in: {"error": class, "text": message}. */
public final class Login {
    public static void main(String[] argv) throws Exception {
        Args args = new Args(argv);
        Properties properties = new Properties();
        properties.put("bootstrap.servers", args.get("bootstrap"));
        properties.put("request.timeout.ms", "15000");
        properties.put("default.api.timeout.ms", "20000");
        args.copyProperties(properties);
        String error = "none";
        String text = "";
        try (Admin admin = Admin.create(properties)) {
            admin.describeCluster().nodes().get();
        } catch (ExecutionException e) {
            error = e.getCause().getClass().getSimpleName();
            text = String.valueOf(e.getCause().getMessage());
        }
        System.out.println("{\"error\": \"" + error + "\", \"text\": \"" + text.replace("\\", "\\\\").replace("\"", "\\\"") + "\"}");
    }
}
