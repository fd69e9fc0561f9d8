"""A cluster whose brokers have names of their own, and logins that are bound to these: GSSAPI, by a throwaway realm, and AWS_MSK_IAM, by a
stand-in for what MSK does (java/MskIam.java). And OAUTHBEARER as AWS's signers do it, which is bound to no broker."""

from harness import cache, clients, kafka

# As MSK names its brokers: AWS's signer finds the region in the name.
DOMAIN = "tunnel.abc123.c2.kafka.us-east-1.amazonaws.com"
ACCESS, SECRET = "AKIAMADEUP", "a-made-up-secret"
OAUTHBEARER = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required"


def name_of(number):
    return f"b-{number}.{DOMAIN}"


class Broker(kafka.Broker):
    def __init__(self, *args):
        super().__init__(*args)
        self.name = name_of(self.node_id)
        self.named_port, = kafka.free_ports(1)
        self.env = self.cluster.java_env

    @property
    def named_address(self):
        return f"{self.name}:{self.named_port}"

    def settings(self):
        settings = super().settings()
        settings["listeners"] += f",NAMED://{kafka.HOST}:{self.named_port}"
        settings["advertised.listeners"] += f",NAMED://{self.named_address}"
        settings["listener.security.protocol.map"] += ",NAMED:SASL_PLAINTEXT"
        settings["inter.broker.listener.name"] = "PLAINTEXT"
        settings["sasl.kerberos.service.name"] = "kafka"
        settings["listener.name.named.sasl.enabled.mechanisms"] = "GSSAPI,AWS_MSK_IAM,OAUTHBEARER"
        settings["listener.name.named.gssapi.sasl.jaas.config"] = self.cluster.jaas_of(self.name)
        settings["listener.name.named.aws_msk_iam.sasl.jaas.config"] = \
            f'MskIam required host="{self.name}" access="{ACCESS}" secret="{SECRET}";'
        settings["listener.name.named.oauthbearer.sasl.jaas.config"] = f'{OAUTHBEARER} unsecuredLoginStringClaim_sub="broker";'
        settings["listener.name.named.oauthbearer.sasl.server.callback.handler.class"] = "MskIam$Token"
        return settings


class Cluster(kafka.Cluster):
    broker_class = Broker

    def __init__(self, directory, processes, realm, nodes=2):
        super().__init__(directory, processes, nodes)
        self.realm, self._jaas = realm, {}
        self.java_env = java_env(realm.config)

    def jaas_of(self, name):
        """A principal is made once: a second keytab would make the first one useless."""
        if name not in self._jaas:
            self._jaas[name] = self.realm.jaas(f"kafka/{name}")
        return self._jaas[name]

    @property
    def named_bootstrap(self):
        return ",".join(b.named_address for b in self.brokers)

    @property
    def lines(self):
        """Of a hosts file on the brokers' side."""
        return [f"{kafka.HOST} {b.name}" for b in self.brokers]


def java_env(krb5_config):
    return {"JAVA_TOOL_OPTIONS": f"-Djava.security.krb5.conf={krb5_config}", "AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1"}


def login(mechanism, jaas=None):
    """What a user of the Java client writes, for harness.clients."""
    found = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": mechanism}
    if mechanism == "GSSAPI":
        found |= {"sasl.kerberos.service.name": "kafka", "sasl.jaas.config": jaas}
    elif mechanism == "OAUTHBEARER":
        found |= {"sasl.jaas.config": f"{OAUTHBEARER};",
                  "sasl.login.callback.handler.class": "software.amazon.msk.auth.iam.IAMOAuthBearerLoginCallbackHandler"}
    else:
        found |= {"sasl.jaas.config": "software.amazon.msk.auth.iam.IAMLoginModule required;",
                  "sasl.client.callback.handler.class": "software.amazon.msk.auth.iam.IAMClientCallbackHandler"}
    return {f"prop_{k.replace('.', '__')}": v for k, v in found.items()}


def java(main, **args):
    """clients.java() with AWS's signer beside Kafka's classes."""
    argv = clients.java(main, **args)
    argv[argv.index("-cp") + 1] += f":{cache.kafka_jars('pom-msk.xml')}/*"
    return argv
