"""What the end-to-end tests are made of: processes, a real Kafka cluster, certificates, the tunnel pair, fake peers."""
