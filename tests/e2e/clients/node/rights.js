// kafkajs does things one after the other, as ../../java/Rights.java, and prints what it says.
//
//   node rights.js bootstrap=HOST:PORT id=CLIENT-ID ACTION...

const {Kafka, logLevel} = require("kafkajs")

const PATIENT_MS = 60000
const [bootstrap, clientId] = process.argv.slice(2, 4).map(argument => argument.split("=")[1])
const kafka = new Kafka({clientId, brokers: [bootstrap], logLevel: logLevel.NOTHING, retry: {retries: 3}})

const actions = {
  async produce(topic) {
    const producer = kafka.producer({allowAutoTopicCreation: false})
    await producer.connect()
    try {
      await producer.send({topic, messages: [{value: "x", partition: 0}]})
    } finally {
      await producer.disconnect()
    }
  },
  async group(topic, groupId) {
    const consumer = kafka.consumer({groupId, allowAutoTopicCreation: false, retry: {retries: 3, restartOnFailure: async () => false}})
    let crashed
    const crash = new Promise((_, reject) => { crashed = reject })
    crash.catch(() => {})
    consumer.on(consumer.events.CRASH, event => crashed(event.payload.error))
    await consumer.connect()
    try {
      await consumer.subscribe({topics: [topic], fromBeginning: true})
      await Promise.race([crash, new Promise((resolve, reject) => {
        setTimeout(() => reject(new Error("no records")), PATIENT_MS).unref()
        consumer.run({autoCommit: true, eachMessage: async () => resolve()}).catch(reject)
      })])
    } finally {
      await consumer.disconnect()
    }
  },
  async create(topic) {
    const admin = kafka.admin()
    await admin.connect()
    try {
      await admin.createTopics({topics: [{topic, numPartitions: 1, replicationFactor: 1}]})
    } finally {
      await admin.disconnect()
    }
  },
}

async function main() {
  for (const argument of process.argv.slice(4)) {
    const [name, rest] = argument.split("=")
    try {
      await actions[name](...rest.split(","))
      console.log("ok")
    } catch (failure) {
      const cause = failure.cause || (failure.errors && failure.errors[0]) || failure
      console.log(`${failure.name}: ${cause.type || ""} ${cause.message}`.replaceAll("\n", " "))
    }
  }
}

main().then(() => process.exit(0))
