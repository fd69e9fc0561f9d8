import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.net.URI;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.Provider;
import java.security.Security;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import javax.security.auth.Subject;
import javax.security.auth.callback.Callback;
import javax.security.auth.callback.CallbackHandler;
import javax.security.auth.login.AppConfigurationEntry;
import javax.security.auth.spi.LoginModule;
import javax.security.sasl.SaslException;
import javax.security.sasl.SaslServer;
import javax.security.sasl.SaslServerFactory;
import org.apache.kafka.common.security.auth.AuthenticateCallbackHandler;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallback;
import org.apache.kafka.common.security.oauthbearer.internals.secured.BasicOAuthBearerToken;

/**
 * Stands in for what brokers of Amazon MSK do at AWS_MSK_IAM: a login module for a broker of Apache Kafka whose options are host=, the
 * broker's own name, access=, an access key, and secret=, its secret. A client's first message is a request signed by AWS's Signature
 * Version 4, in JSON; whoever has signed another host than this broker's name is not let in. Nothing in here has been compared with MSK.
 */
public final class MskIam implements LoginModule {
    private static final String MECHANISM = "AWS_MSK_IAM";
    private static volatile Map<String, ?> options;

    static {
        Provider provider = new Provider("MskIam", "1", "a stand-in") {};
        provider.put("SaslServerFactory." + MECHANISM, Factory.class.getName());
        Security.addProvider(provider);
    }

    @Override
    public void initialize(Subject subject, CallbackHandler handler, Map<String, ?> shared, Map<String, ?> given) {
        options = given;
    }

    @Override
    public boolean login() {
        return true;
    }

    @Override
    public boolean commit() {
        return true;
    }

    @Override
    public boolean abort() {
        return false;
    }

    @Override
    public boolean logout() {
        return true;
    }

    public static final class Factory implements SaslServerFactory {
        @Override
        public SaslServer createSaslServer(String mechanism, String protocol, String name, Map<String, ?> properties, CallbackHandler handler) {
            return new Server();
        }

        @Override
        public String[] getMechanismNames(Map<String, ?> properties) {
            return new String[] {MECHANISM};
        }
    }

    private static String option(String name) {
        return String.valueOf(options.get(name));
    }

    /** AWS's Signature Version 4, as far as these two requests need it. */
    private static final class Signature {
        private static String encode(String text) {
            StringBuilder out = new StringBuilder();
            for (byte b : text.getBytes(StandardCharsets.UTF_8)) {
                boolean plain = b >= 'A' && b <= 'Z' || b >= 'a' && b <= 'z' || b >= '0' && b <= '9' || "-_.~".indexOf(b) >= 0;
                out.append(plain ? String.valueOf((char) b) : String.format("%%%02X", b));
            }
            return out.toString();
        }

        private static byte[] sign(byte[] key, String text) throws Exception {
            Mac mac = Mac.getInstance("HmacSHA256");
            mac.init(new SecretKeySpec(key, "HmacSHA256"));
            return mac.doFinal(text.getBytes(StandardCharsets.UTF_8));
        }

        private static String digest(String text) throws Exception {
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(text.getBytes(StandardCharsets.UTF_8)));
        }

        /** Whether GET / of that host with that query, which has all but the signature, was signed so with the secret. */
        static boolean isGood(String host, Map<String, String> query, String signature) throws Exception {
            StringBuilder line = new StringBuilder();
            new TreeMap<>(query).forEach((key, value) ->
                    line.append(line.length() > 0 ? "&" : "").append(encode(key)).append('=').append(encode(value)));
            String[] credential = query.get("X-Amz-Credential").split("/", 2);
            String request = "GET\n/\n" + line + "\nhost:" + host + "\n\nhost\n" + digest("");
            String text = "AWS4-HMAC-SHA256\n" + query.get("X-Amz-Date") + "\n" + credential[1] + "\n" + digest(request);
            byte[] key = ("AWS4" + option("secret")).getBytes(StandardCharsets.UTF_8);
            for (String part : credential[1].split("/")) {
                key = sign(key, part);
            }
            return credential[0].equals(option("access")) && HexFormat.of().formatHex(sign(key, text)).equals(signature);
        }
    }

    /** What brokers do with the tokens of AWS's signers for OAUTHBEARER: a signed URL of the region's endpoint, in Base64. */
    public static final class Token implements AuthenticateCallbackHandler {
        private static final String HOST = "kafka.us-east-1.amazonaws.com";

        @Override
        public void configure(Map<String, ?> configs, String mechanism, List<AppConfigurationEntry> entries) {}

        @Override
        public void close() {}

        @Override
        public void handle(Callback[] callbacks) {
            for (Callback callback : callbacks) {
                if (callback instanceof OAuthBearerValidatorCallback asked) {
                    validate(asked);
                }
            }
        }

        private static void validate(OAuthBearerValidatorCallback asked) {
            try {
                URI url = URI.create(new String(Base64.getUrlDecoder().decode(asked.tokenValue()), StandardCharsets.UTF_8));
                Map<String, String> query = new TreeMap<>();
                for (String part : url.getRawQuery().split("&")) {
                    String[] pair = part.split("=", 2);
                    query.put(URLDecoder.decode(pair[0], StandardCharsets.UTF_8), URLDecoder.decode(pair[1], StandardCharsets.UTF_8));
                }
                query.remove("User-Agent");
                String signature = query.remove("X-Amz-Signature");
                boolean good = url.getHost().equals(HOST) && Signature.isGood(HOST, query, signature);
                System.err.println("OAUTHBEARER signed host " + url.getHost() + " at " + option("host") + ": " + (good ? "good" : "wrong"));
                if (good) {
                    asked.token(new BasicOAuthBearerToken(asked.tokenValue(), Set.of(), System.currentTimeMillis() + 600_000, option("access"),
                            System.currentTimeMillis()));
                } else {
                    asked.error("invalid_token", null, null);
                }
            } catch (Exception e) {
                asked.error("invalid_token", null, null);
            }
        }
    }

    private static final class Server implements SaslServer {
        private String user;

        /** Whether the client has signed this broker's own name. */
        private static boolean isGood(Map<String, String> said) throws Exception {
            return Signature.isGood(option("host"), Map.of("Action", said.get("action"), "X-Amz-Algorithm", said.get("x-amz-algorithm"),
                    "X-Amz-Credential", said.get("x-amz-credential"), "X-Amz-Date", said.get("x-amz-date"),
                    "X-Amz-Expires", said.get("x-amz-expires"), "X-Amz-SignedHeaders", said.get("x-amz-signedheaders")),
                    said.get("x-amz-signature"));
        }

        @Override
        public byte[] evaluateResponse(byte[] response) throws SaslException {
            try {
                Map<String, String> said = new ObjectMapper().readValue(response, new TypeReference<>() {});
                boolean good = isGood(said);
                System.err.println(MECHANISM + " signed host " + said.get("host") + " at " + option("host") + ": " + (good ? "good" : "wrong"));
                if (!good) {
                    throw new SaslException("the signature is not for " + option("host"));
                }
                user = option("access");
                return "{\"version\":\"2020_10_22\",\"request-id\":\"stand-in\"}".getBytes(StandardCharsets.UTF_8);
            } catch (SaslException e) {
                throw e;
            } catch (Exception e) {
                throw new SaslException("cannot be read", e);
            }
        }

        @Override
        public String getMechanismName() {
            return MECHANISM;
        }

        @Override
        public boolean isComplete() {
            return user != null;
        }

        @Override
        public String getAuthorizationID() {
            return user;
        }

        @Override
        public byte[] unwrap(byte[] incoming, int offset, int size) {
            throw new IllegalStateException();
        }

        @Override
        public byte[] wrap(byte[] outgoing, int offset, int size) {
            throw new IllegalStateException();
        }

        @Override
        public Object getNegotiatedProperty(String name) {
            return null;
        }

        @Override
        public void dispose() {}
    }
}
