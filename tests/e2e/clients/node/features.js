// kafkajs: its features, one by one; prints {feature: "ok" or what failed}.
//
// After a transaction that it aborted, the next one of the same producer often loses a record or writes one twice, direct as well
// (others read it so too): each transaction here has a producer of its own.
//
//   node features.js bootstrap=HOST:PORT,... nodes=HOST:PORT,...      (nodes: where brokers may be said to be)

const {randomUUID} = require("crypto")
const {Kafka, CompressionTypes, ConfigResourceTypes, logLevel} = require("kafkajs")

const RECORDS = 50
const PATIENT_MS = 60000
const args = Object.fromEntries(process.argv.slice(2).map(a => [a.slice(0, a.indexOf("=")), a.slice(a.indexOf("=") + 1)]))
const kafka = new Kafka({clientId: "features", brokers: args.bootstrap.split(","), logLevel: logLevel.NOTHING})
const admin = kafka.admin()
const results = {}

const name = prefix => `${prefix}-${randomUUID().slice(0, 13)}`
const values = (what = "v", count = RECORDS) => [...Array(count).keys()].map(i => `${what}${i}`)

function expect(condition, what) {
  if (!condition) throw new Error(what)
}

async function check(feature, run) {
  try {
    await run()
    results[feature] = "ok"
  } catch (failure) {
    results[feature] = `${failure.name}: ${failure.message} ${JSON.stringify(failure.partitions || "")}`
  }
}

async function until(what, condition) {
  for (const end = Date.now() + PATIENT_MS; Date.now() < end;) {
    try {
      if (await condition()) return
    } catch (failure) { // each broker hears of a new topic in its own time
      if (!/UNKNOWN_TOPIC_OR_PARTITION/.test(`${failure.type} ${failure.message}`)) throw failure
    }
    await new Promise(resolve => setTimeout(resolve, 50))
  }
  throw new Error(`not in time: ${what}`)
}

async function topic(numPartitions = 3) {
  const topic = name("f")
  await admin.createTopics({topics: [{topic, numPartitions, replicationFactor: 3}], waitForLeaders: true})
  return topic
}

async function send(topic, all, options = {}, producerOptions = {}) {
  const producer = kafka.producer(producerOptions)
  await producer.connect()
  try {
    await producer.send({topic, messages: all.map(value => ({value})), acks: -1, ...options})
  } finally {
    await producer.disconnect()
  }
}

async function read(topic, due) {
  const groupId = name("g"), got = []
  const consumer = kafka.consumer({groupId, readUncommitted: false, maxWaitTimeInMs: 200})
  await consumer.connect()
  try {
    await consumer.subscribe({topics: [topic], fromBeginning: true})
    await consumer.run({eachMessage: async ({message}) => { got.push(message.value.toString()) }})
    await until(`${due.length} records`, () => got.length >= due.length)
  } finally {
    await consumer.disconnect()
  }
  expect(JSON.stringify(got.sort()) === JSON.stringify([...due].sort()), `${got.length} records of ${due.length}, or others`)
  const [found] = await admin.fetchOffsets({groupId, topics: [topic]})
  expect(found.partitions.reduce((sum, p) => sum + Math.max(0, Number(p.offset)), 0) >= due.length, "offsets are not committed")
  return groupId
}

async function produce(options = {}, producerOptions) {
  const name = await topic(), first = []
  if (options.acks === 0) { // lost without a word when the topic is so new that its leaders are not there yet
    first.push(...values("first"))
    await send(name, first)
  }
  await send(name, values(), options, producerOptions)
  await read(name, [...first, ...values()])
}

async function transactions() {
  const written = await topic()
  for (const [what, end] of [["lost", "abort"], ["kept", "commit"]]) {
    const producer = kafka.producer({transactionalId: name("t"), idempotent: true, maxInFlightRequests: 1})
    await producer.connect()
    const transaction = await producer.transaction()
    await transaction.send({topic: written, messages: values(what).map(value => ({value}))})
    await transaction[end]()
    await producer.disconnect()
  }
  await read(written, values("kept"))
}

async function topics() {
  const name = await topic(4)
  const {topics} = await admin.fetchTopicMetadata({topics: [name]})
  expect(topics[0].partitions.length === 4, "partitions")
  await until(`${name} is listed`, async () => (await admin.listTopics()).includes(name))
  await admin.deleteTopics({topics: [name]})
}

async function configs() {
  const name = await topic(1)
  const resource = {type: ConfigResourceTypes.TOPIC, name}
  await until("the change", () => admin.alterConfigs(
    {resources: [{...resource, configEntries: [{name: "retention.ms", value: "4711"}]}]}).then(() => true))
  await until("the new setting", async () => {
    const {resources} = await admin.describeConfigs({resources: [{...resource, configNames: ["retention.ms"]}]})
    return resources[0].configEntries[0].configValue === "4711"
  })
}

async function groups() {
  const name = await topic(1)
  await send(name, values())
  const group = await read(name, values())
  expect((await admin.listGroups()).groups.some(g => g.groupId === group), "not listed")
  expect((await admin.describeGroups([group])).groups[0].groupId === group, "not described")
  await admin.deleteGroups([group])
}

async function describeCluster() {
  const allowed = args.nodes.split(",")
  const {brokers} = await admin.describeCluster()
  expect(brokers.length > 0, "no nodes")
  for (const {host, port} of brokers) expect(allowed.includes(`${host}:${port}`), `${host}:${port} is none of ${allowed}`)
}

async function offsets(deleted) {
  const name = await topic(1)
  await send(name, values("v", 10))
  // It looks for the leader in what it knows of the topic, and asks nobody if that is nothing.
  await admin.fetchTopicOffsets(name)
  if (deleted) await admin.deleteTopicRecords({topic: name, partitions: [{partition: 0, offset: String(deleted)}]})
  const [found] = await admin.fetchTopicOffsets(name)
  expect(found.low === String(deleted) && found.high === "10", `offsets ${found.low} to ${found.high}`)
}

async function main() {
  await admin.connect()
  await check("produce acks=0", () => produce({acks: 0}))
  await check("produce acks=1", () => produce({acks: 1}))
  await check("produce acks=all", () => produce({acks: -1}))
  await check("idempotent producer", () => produce({acks: -1}, {idempotent: true, maxInFlightRequests: 1}))
  await check("transactions", transactions)
  await check("compression", () => produce({compression: CompressionTypes.GZIP}))
  await check("consumer group (classic)", () => produce())
  await check("admin: topics", topics)
  await check("admin: configs", configs)
  await check("admin: groups", groups)
  await check("admin: describe cluster", describeCluster)
  await check("admin: delete records", () => offsets(4))
  await check("admin: list offsets", () => offsets(0))
  await admin.disconnect()
  console.log(JSON.stringify(results))
  process.exit(0)
}

main()
