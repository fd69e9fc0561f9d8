// Produces and consumes ten records with kafkajs: node produce_consume.js TOPIC [BOOTSTRAP]
const {Kafka, logLevel} = require("kafkajs")

async function main(topic, bootstrap = "localhost:9092") {
  const kafka = new Kafka({clientId: "example", brokers: [bootstrap], logLevel: logLevel.ERROR})
  const producer = kafka.producer()
  await producer.connect()
  await producer.send({topic, messages: [...Array(10).keys()].map(i => ({key: `${i}`, value: `record ${i}`}))})
  await producer.disconnect()

  const consumer = kafka.consumer({groupId: `example-${process.pid}-${Date.now()}`})
  await consumer.connect()
  await consumer.subscribe({topic, fromBeginning: true})
  let seen = 0
  await new Promise((resolve, reject) => {
    setTimeout(reject, 60000, new Error("no ten records within 60 s")).unref()
    consumer.run({eachMessage: async ({message}) => {
      console.log(message.value.toString())
      if (++seen === 10) resolve()
    }}).catch(reject)
  })
  await consumer.disconnect()
}

main(...process.argv.slice(2)).catch(error => {
  console.error(error.message)
  process.exit(1)
})
