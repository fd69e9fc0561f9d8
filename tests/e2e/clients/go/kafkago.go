package main

import (
	"context"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
)

type kafkaGoClient struct {
	*checks
	client *kafka.Client
}

func kafkaGo(c *checks) {
	k := kafkaGoClient{c, &kafka.Client{Addr: kafka.TCP(c.bootstrap...), Timeout: patient}}
	c.check("produce acks=0", k.unacknowledged)
	for feature, acks := range map[string]kafka.RequiredAcks{"produce acks=1": kafka.RequireOne, "produce acks=all": kafka.RequireAll} {
		c.check(feature, func() error { return k.produce(&kafka.Writer{RequiredAcks: acks}) })
	}
	c.check("compression", k.compression)
	c.check("consumer group (classic)", func() error { return k.produce(&kafka.Writer{RequiredAcks: kafka.RequireAll}) })
	c.check("admin: topics", k.topics)
	c.check("admin: groups", k.groups)
	c.check("admin: describe cluster", k.describeCluster)
	c.check("admin: list offsets", k.offsets)
}

func (k kafkaGoClient) topic(partitions int) (string, error) {
	ctx, cancel := deadline()
	defer cancel()
	topic := name("f")
	found, err := k.client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{
		{Topic: topic, NumPartitions: partitions, ReplicationFactor: 3}}})
	if err != nil {
		return topic, err
	}
	if found.Errors[topic] != nil {
		return topic, found.Errors[topic]
	}
	return topic, until("the topic has leaders", func() (bool, error) {
		found, err := k.client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
		return err == nil && found.Topics[0].Error == nil && len(found.Topics[0].Partitions) == partitions, err
	})
}

func (k kafkaGoClient) filled(count, partitions int, writer *kafka.Writer) (string, error) {
	topic, err := k.topic(partitions)
	if err != nil {
		return topic, err
	}
	return topic, k.write(writer, topic, values("v", count))
}

func (k kafkaGoClient) write(writer *kafka.Writer, topic string, all []string) error {
	ctx, cancel := deadline()
	defer cancel()
	writer.Addr, writer.Topic, writer.BatchTimeout = k.client.Addr, topic, 1
	batch := make([]kafka.Message, len(all))
	for i, value := range all {
		batch[i] = kafka.Message{Value: []byte(value)}
	}
	if err := writer.WriteMessages(ctx, batch...); err != nil {
		return err
	}
	return writer.Close()
}

// A record is lost without a word when the topic is so new that its leaders are not there yet: others come first.
func (k kafkaGoClient) unacknowledged() error {
	topic, err := k.filled(records, 3, &kafka.Writer{RequiredAcks: kafka.RequireAll})
	if err != nil {
		return err
	}
	if err := k.write(&kafka.Writer{RequiredAcks: kafka.RequireNone}, topic, values("w", records)); err != nil {
		return err
	}
	_, err = k.read(topic, append(values("v", records), values("w", records)...))
	return err
}

func (k kafkaGoClient) read(topic string, due []string) (string, error) {
	group := name("g")
	reader := kafka.NewReader(kafka.ReaderConfig{Brokers: k.bootstrap, GroupID: group, Topic: topic, StartOffset: kafka.FirstOffset,
		MaxWait: 200 * time.Millisecond})
	ctx, cancel := deadline()
	defer cancel()
	got := []string{}
	for len(got) < len(due) {
		message, err := reader.ReadMessage(ctx)
		if err != nil {
			reader.Close()
			return group, err
		}
		got = append(got, string(message.Value))
	}
	if err := reader.Close(); err != nil {
		return group, err
	}
	if err := same(got, due); err != nil {
		return group, err
	}
	return group, k.committed(group, topic, int64(len(due)))
}

func (k kafkaGoClient) committed(group, topic string, due int64) error {
	found, err := k.client.OffsetFetch(context.Background(), &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: {0, 1, 2}}})
	if err != nil {
		return err
	}
	var sum int64
	for _, partition := range found.Topics[topic] {
		sum += max(0, partition.CommittedOffset)
	}
	if sum < due {
		return fmt.Errorf("committed offsets are %d", sum)
	}
	return nil
}

func (k kafkaGoClient) produce(writer *kafka.Writer) error {
	topic, err := k.filled(records, 3, writer)
	if err != nil {
		return err
	}
	_, err = k.read(topic, values("v", records))
	return err
}

func (k kafkaGoClient) compression() error {
	for _, codec := range []kafka.Compression{kafka.Gzip, kafka.Snappy, kafka.Lz4, kafka.Zstd} {
		if err := k.produce(&kafka.Writer{Compression: codec, RequiredAcks: kafka.RequireAll}); err != nil {
			return err
		}
	}
	return nil
}

func (k kafkaGoClient) topics() error {
	topic, err := k.topic(4)
	if err != nil {
		return err
	}
	ctx, cancel := deadline()
	defer cancel()
	found, err := k.client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic}})
	if err != nil {
		return err
	}
	return found.Errors[topic]
}

func (k kafkaGoClient) groups() error {
	topic, err := k.filled(records, 1, &kafka.Writer{RequiredAcks: kafka.RequireAll})
	if err != nil {
		return err
	}
	group, err := k.read(topic, values("v", records))
	if err != nil {
		return err
	}
	ctx, cancel := deadline()
	defer cancel()
	described, err := k.client.DescribeGroups(ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{group}})
	if err != nil || described.Groups[0].GroupID != group {
		return fmt.Errorf("not described: %v", err)
	}
	return nil
}

func (k kafkaGoClient) describeCluster() error {
	ctx, cancel := deadline()
	defer cancel()
	found, err := k.client.Metadata(ctx, &kafka.MetadataRequest{})
	if err != nil {
		return err
	}
	nodes := []string{}
	for _, broker := range found.Brokers {
		nodes = append(nodes, fmt.Sprintf("%s:%d", broker.Host, broker.Port))
	}
	return k.checkNodes(nodes)
}

func (k kafkaGoClient) offsets() error {
	topic, err := k.filled(10, 1, &kafka.Writer{RequiredAcks: kafka.RequireAll})
	if err != nil {
		return err
	}
	ctx, cancel := deadline()
	defer cancel()
	found, err := k.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{
		topic: {kafka.FirstOffsetOf(0), kafka.LastOffsetOf(0)}}})
	if err != nil {
		return err
	}
	if offsets := found.Topics[topic][0]; offsets.FirstOffset != 0 || offsets.LastOffset != 10 {
		return fmt.Errorf("offsets %d to %d", offsets.FirstOffset, offsets.LastOffset)
	}
	return nil
}
