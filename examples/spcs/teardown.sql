-- Removes what setup.sql made, in reverse order. Kafka's data is removed with the service.
USE ROLE ACCOUNTADMIN;
ALTER USER IF EXISTS kafka_tunnel_job UNSET NETWORK_POLICY;
DROP USER IF EXISTS kafka_tunnel_job;
DROP NETWORK POLICY IF EXISTS kafka_tunnel_clients;
DROP SERVICE IF EXISTS kafka_tunnel.public.kafka_tunnel;
ALTER COMPUTE POOL IF EXISTS kafka_tunnel_pool STOP ALL;
DROP COMPUTE POOL IF EXISTS kafka_tunnel_pool;
DROP DATABASE IF EXISTS kafka_tunnel;
DROP ROLE IF EXISTS kafka_tunnel_client;
DROP ROLE IF EXISTS kafka_tunnel_owner;
