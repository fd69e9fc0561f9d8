-- From nothing to a public endpoint that leads to Kafka. Run it in a Snowflake account, as ACCOUNTADMIN (or roles with these rights).
-- The project's tests cannot run it, because they have no account. They check that the specification here is service.yaml,
-- parse that file, and give its command lines to the programs.

-- 1. A role that owns the service, and one for those who use it.
USE ROLE ACCOUNTADMIN;
CREATE ROLE IF NOT EXISTS kafka_tunnel_owner;
CREATE ROLE IF NOT EXISTS kafka_tunnel_client;
GRANT ROLE kafka_tunnel_owner TO ROLE SYSADMIN;
GRANT BIND SERVICE ENDPOINT ON ACCOUNT TO ROLE kafka_tunnel_owner;

-- 2. Where it runs, and where its images are. A service with a public endpoint cannot have AUTO_SUSPEND_SECS.
CREATE COMPUTE POOL IF NOT EXISTS kafka_tunnel_pool
  MIN_NODES = 1 MAX_NODES = 1 INSTANCE_FAMILY = CPU_X64_S;
GRANT USAGE, MONITOR ON COMPUTE POOL kafka_tunnel_pool TO ROLE kafka_tunnel_owner;
CREATE DATABASE IF NOT EXISTS kafka_tunnel;
GRANT OWNERSHIP ON DATABASE kafka_tunnel TO ROLE kafka_tunnel_owner COPY CURRENT GRANTS;
GRANT OWNERSHIP ON SCHEMA kafka_tunnel.public TO ROLE kafka_tunnel_owner COPY CURRENT GRANTS;

USE ROLE kafka_tunnel_owner;
CREATE IMAGE REPOSITORY IF NOT EXISTS kafka_tunnel.public.images;
-- Push the images to repository_url from a shell (README.md) before the next step.
SHOW IMAGE REPOSITORIES IN SCHEMA kafka_tunnel.public;

-- 3. The service.
CREATE SERVICE IF NOT EXISTS kafka_tunnel.public.kafka_tunnel
  IN COMPUTE POOL kafka_tunnel_pool
  FROM SPECIFICATION $$
spec:
  containers:
  - name: kafka
    image: /kafka_tunnel/public/images/kafka:4.3.1
    env:
      # KRaft: this node is broker and controller. For more brokers, use a service for each, or a Kafka outside (README.md).
      KAFKA_NODE_ID: "1"
      KAFKA_PROCESS_ROLES: broker,controller
      KAFKA_LISTENERS: PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093
      KAFKA_ADVERTISED_LISTENERS: PLAINTEXT://127.0.0.1:9092
      KAFKA_LISTENER_SECURITY_PROTOCOL_MAP: PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
      KAFKA_CONTROLLER_LISTENER_NAMES: CONTROLLER
      KAFKA_CONTROLLER_QUORUM_VOTERS: 1@127.0.0.1:9093
      KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR: "1"
      KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR: "1"
      KAFKA_TRANSACTION_STATE_LOG_MIN_ISR: "1"
      KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR: "1"
      KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR: "1"
      KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS: "0"
      KAFKA_HEAP_OPTS: -Xmx1g
    resources:
      requests:
        cpu: "1"
        memory: 2Gi
      limits:
        memory: 2Gi
  - name: tunnel-server
    image: /kafka_tunnel/public/images/kafka-tunnel:0.1.0
    command:
    - tunnel-server
    args:
    - --listen
    - 0.0.0.0:8080
    - --kafka
    - 127.0.0.1:9092
    # The ingress in front authenticates clients; nothing else can reach port 8080 of a public endpoint.
    - --trust-ingress
    # One JSON object per line, with a key "body": the event table parses it.
    - --log-format
    - json
    readinessProbe:
      port: 8080
      # 200 once the broker answers.
      path: /readyz
    resources:
      requests:
        cpu: "0.5"
        memory: 512Mi
      limits:
        memory: 1Gi
  endpoints:
  - name: tunnel
    port: 8080
    public: true
serviceRoles:
- name: tunnel_user
  endpoints:
  - tunnel
$$
  MIN_INSTANCES = 1 MAX_INSTANCES = 1;

-- Repeat this until both containers are READY; tunnel-server is ready when the broker answers.
SHOW SERVICE CONTAINERS IN SERVICE kafka_tunnel.public.kafka_tunnel;
-- ingress_url is the host name for tunnel-client --server https://INGRESS_URL. It takes some minutes to appear.
SHOW ENDPOINTS IN SERVICE kafka_tunnel.public.kafka_tunnel;

-- 4. Who may use it.
GRANT USAGE ON DATABASE kafka_tunnel TO ROLE kafka_tunnel_client;
GRANT USAGE ON SCHEMA kafka_tunnel.public TO ROLE kafka_tunnel_client;
GRANT SERVICE ROLE kafka_tunnel.public.kafka_tunnel!tunnel_user TO ROLE kafka_tunnel_client;

USE ROLE ACCOUNTADMIN;
CREATE USER IF NOT EXISTS kafka_tunnel_job TYPE = SERVICE DEFAULT_ROLE = kafka_tunnel_client;
GRANT ROLE kafka_tunnel_client TO USER kafka_tunnel_job;
-- Service users with a token need a network policy, with the addresses that your clients connect from.
CREATE NETWORK RULE IF NOT EXISTS kafka_tunnel.public.clients
  TYPE = IPV4 MODE = INGRESS VALUE_LIST = ('192.0.2.0/24');
CREATE NETWORK POLICY IF NOT EXISTS kafka_tunnel_clients
  ALLOWED_NETWORK_RULE_LIST = ('kafka_tunnel.public.clients');
ALTER USER kafka_tunnel_job SET NETWORK_POLICY = kafka_tunnel_clients;
-- For clients whose addresses change (CI), use this instead of the network policy:
--   CREATE AUTHENTICATION POLICY kafka_tunnel.public.from_anywhere
--     PAT_POLICY = (NETWORK_POLICY_EVALUATION = ENFORCED_NOT_REQUIRED);
--   ALTER USER kafka_tunnel_job SET AUTHENTICATION POLICY kafka_tunnel.public.from_anywhere;

-- 5a. A programmatic access token. token_secret is shown only once: put it into the file of --token-file.
ALTER USER kafka_tunnel_job ADD PROGRAMMATIC ACCESS TOKEN tunnel
  ROLE_RESTRICTION = 'KAFKA_TUNNEL_CLIENT' DAYS_TO_EXPIRY = 30;

-- 5b. Or a key pair (README.md makes one): the public key without its first and last line.
-- ALTER USER kafka_tunnel_job SET RSA_PUBLIC_KEY = 'MIIB...';
