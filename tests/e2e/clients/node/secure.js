// kafkajs with TLS and a login: produces records and consumes them; prints {"produce and consume": "ok" or what failed}.
//
//   node secure.js bootstrap=HOST:PORT topic=NAME [ca=FILE] [cert=FILE key=FILE] [mechanism=NAME user=NAME password=TEXT]

const {readFileSync} = require("fs")
const {Kafka, logLevel} = require("kafkajs")

const RECORDS = 50
const PATIENT_MS = 60000
const args = Object.fromEntries(process.argv.slice(2).map(a => [a.slice(0, a.indexOf("=")), a.slice(a.indexOf("=") + 1)]))
const read = file => file && readFileSync(file)
const settings = {clientId: "secure", brokers: args.bootstrap.split(","), logLevel: logLevel.NOTHING}
if (args.ca) settings.ssl = {ca: [read(args.ca)], cert: read(args.cert), key: read(args.key)}
if (args.mechanism) settings.sasl = {mechanism: args.mechanism.toLowerCase(), username: args.user, password: args.password}
const kafka = new Kafka(settings)

async function run() {
  const producer = kafka.producer()
  const consumer = kafka.consumer({groupId: `secure-${Date.now()}`})
  await producer.connect()
  await producer.send({topic: args.topic, messages: [...Array(RECORDS).keys()].map(i => ({value: `${i}`})), acks: -1})
  await producer.disconnect()
  await consumer.connect()
  await consumer.subscribe({topics: [args.topic], fromBeginning: true})
  let left = RECORDS
  await new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error(`${left} records are missing`)), PATIENT_MS).unref()
    consumer.run({eachMessage: async () => --left || resolve()})
  })
  await consumer.disconnect()
}

run().then(() => "ok", failure => `${failure.name}: ${failure.message}`).then(result => {
  console.log(JSON.stringify({"produce and consume": result}))
  process.exit(0)
})
