package main

import (
	"context"
	"fmt"

	"github.com/IBM/sarama"
)

type saramaClient struct {
	*checks
	admin sarama.ClusterAdmin
}

func saramaConfig(change func(*sarama.Config)) *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.Producer.Return.Successes = true
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.IsolationLevel = sarama.ReadCommitted
	if change != nil {
		change(config)
	}
	return config
}

func saramaFeatures(c *checks) {
	admin, err := sarama.NewClusterAdmin(c.bootstrap, saramaConfig(nil))
	if err != nil {
		panic(err)
	}
	defer admin.Close()
	s := saramaClient{c, admin}
	c.check("produce acks=0", s.unacknowledged)
	for feature, acks := range map[string]sarama.RequiredAcks{"produce acks=1": sarama.WaitForLocal, "produce acks=all": sarama.WaitForAll} {
		c.check(feature, func() error { return s.produce(func(config *sarama.Config) { config.Producer.RequiredAcks = acks }) })
	}
	c.check("idempotent producer", func() error { return s.produce(idempotent) })
	c.check("transactions", s.transactions)
	c.check("compression", s.compression)
	c.check("consumer group (classic)", func() error { return s.produce(nil) })
	c.check("admin: topics", s.topics)
	c.check("admin: configs", s.configs)
	c.check("admin: groups", s.groups)
	c.check("admin: describe cluster", s.describeCluster)
	c.check("admin: delete records", func() error { return s.offsets(4) })
	c.check("admin: list offsets", func() error { return s.offsets(0) })
	c.check("admin: elect leaders", s.electLeaders)
}

func idempotent(config *sarama.Config) {
	config.Producer.Idempotent = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Net.MaxOpenRequests = 1
}

func (s saramaClient) topic(partitions int32) (string, error) {
	topic := name("f")
	if err := s.admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 3}, false); err != nil {
		return topic, err
	}
	return topic, until("the topic has leaders", func() (bool, error) {
		found, err := s.admin.DescribeTopics([]string{topic})
		if err != nil || found[0].Err != sarama.ErrNoError {
			return false, err
		}
		return len(found[0].Partitions) == int(partitions), nil
	})
}

func (s saramaClient) send(producer sarama.SyncProducer, topic string, all []string) error {
	batch := make([]*sarama.ProducerMessage, len(all))
	for i, value := range all {
		batch[i] = &sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder(value)}
	}
	return producer.SendMessages(batch)
}

// member reads until it has seen as many records as are due.
type member struct {
	due  int
	got  []string
	stop context.CancelFunc
}

func (m *member) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (m *member) Cleanup(sarama.ConsumerGroupSession) error { return nil }
func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, more := <-claim.Messages():
			if !more {
				return nil
			}
			collected <- string(message.Value)
			session.MarkMessage(message, "")
		case <-session.Context().Done():
			return nil
		}
	}
}

// Claims are consumed side by side: this gathers what they get.
var collected = make(chan string, 1000)

func (s saramaClient) read(topic string, due []string) (string, error) {
	group := name("g")
	consumer, err := sarama.NewConsumerGroup(s.bootstrap, group, saramaConfig(nil))
	if err != nil {
		return group, err
	}
	ctx, cancel := deadline()
	defer cancel()
	done := make(chan error, 1)
	m := &member{due: len(due)}
	go func() { done <- consumer.Consume(ctx, []string{topic}, m) }()
	for len(m.got) < len(due) && ctx.Err() == nil {
		select {
		case value := <-collected:
			m.got = append(m.got, value)
		case <-ctx.Done():
		}
	}
	cancel()
	if err := <-done; err != nil {
		return group, err
	}
	if err := consumer.Close(); err != nil {
		return group, err
	}
	if err := same(m.got, due); err != nil {
		return group, err
	}
	found, err := s.admin.ListConsumerGroupOffsets(group, nil)
	if err != nil {
		return group, err
	}
	var committed int64
	for _, block := range found.Blocks[topic] {
		committed += max(0, block.Offset)
	}
	if committed < int64(len(due)) {
		return group, fmt.Errorf("committed offsets are %d", committed)
	}
	return group, nil
}

func (s saramaClient) filled(count int, partitions int32, change func(*sarama.Config)) (string, error) {
	topic, err := s.topic(partitions)
	if err != nil {
		return topic, err
	}
	producer, err := sarama.NewSyncProducer(s.bootstrap, saramaConfig(change))
	if err != nil {
		return topic, err
	}
	defer producer.Close()
	return topic, s.send(producer, topic, values("v", count))
}

func (s saramaClient) produce(change func(*sarama.Config)) error {
	topic, err := s.filled(records, 3, change)
	if err != nil {
		return err
	}
	_, err = s.read(topic, values("v", records))
	return err
}

// A record is lost without a word when the topic is so new that its leaders are not there yet: others come first.
func (s saramaClient) unacknowledged() error {
	topic, err := s.filled(records, 3, nil)
	if err != nil {
		return err
	}
	producer, err := sarama.NewSyncProducer(s.bootstrap, saramaConfig(func(config *sarama.Config) {
		config.Producer.RequiredAcks = sarama.NoResponse
	}))
	if err != nil {
		return err
	}
	defer producer.Close()
	if err := s.send(producer, topic, values("w", records)); err != nil {
		return err
	}
	_, err = s.read(topic, append(values("v", records), values("w", records)...))
	return err
}

func (s saramaClient) compression() error {
	for _, codec := range []sarama.CompressionCodec{sarama.CompressionGZIP, sarama.CompressionSnappy, sarama.CompressionLZ4,
		sarama.CompressionZSTD} {
		if err := s.produce(func(config *sarama.Config) { config.Producer.Compression = codec }); err != nil {
			return err
		}
	}
	return nil
}

func (s saramaClient) transactions() error {
	topic, err := s.topic(2)
	if err != nil {
		return err
	}
	producer, err := sarama.NewSyncProducer(s.bootstrap, saramaConfig(func(config *sarama.Config) {
		idempotent(config)
		config.Producer.Transaction.ID = name("t")
	}))
	if err != nil {
		return err
	}
	defer producer.Close()
	for _, step := range []struct {
		what string
		end  func() error
	}{{"aborted", producer.AbortTxn}, {"v", producer.CommitTxn}} {
		if err := producer.BeginTxn(); err != nil {
			return err
		}
		if err := s.send(producer, topic, values(step.what, records)); err != nil {
			return err
		}
		if err := step.end(); err != nil {
			return err
		}
	}
	_, err = s.read(topic, values("v", records))
	return err
}

func (s saramaClient) topics() error {
	topic, err := s.topic(4)
	if err != nil {
		return err
	}
	// Any broker is asked, and not each knows at once what the controller has made.
	if err := until("four partitions", func() (bool, error) {
		found, err := s.admin.ListTopics()
		return err == nil && found[topic].NumPartitions == 4, err
	}); err != nil {
		return err
	}
	return s.admin.DeleteTopic(topic)
}

func (s saramaClient) configs() error {
	topic, err := s.topic(1)
	if err != nil {
		return err
	}
	value := "4711"
	if err := s.admin.IncrementalAlterConfig(sarama.TopicResource, topic, map[string]sarama.IncrementalAlterConfigsEntry{
		"retention.ms": {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value}}, false); err != nil {
		return err
	}
	return until("the new setting", func() (bool, error) {
		found, err := s.admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: topic, ConfigNames: []string{"retention.ms"}})
		return err == nil && len(found) == 1 && found[0].Value == value, err
	})
}

func (s saramaClient) groups() error {
	topic, err := s.filled(records, 1, nil)
	if err != nil {
		return err
	}
	group, err := s.read(topic, values("v", records))
	if err != nil {
		return err
	}
	listed, err := s.admin.ListConsumerGroups()
	if _, there := listed[group]; err != nil || !there {
		return fmt.Errorf("not listed: %v", err)
	}
	described, err := s.admin.DescribeConsumerGroups([]string{group})
	if err != nil || described[0].GroupId != group {
		return fmt.Errorf("not described: %v", err)
	}
	return until("the group is deleted", func() (bool, error) {
		err := s.admin.DeleteConsumerGroup(group)
		return err == nil, err
	})
}

func (s saramaClient) describeCluster() error {
	brokers, _, err := s.admin.DescribeCluster()
	if err != nil {
		return err
	}
	nodes := []string{}
	for _, broker := range brokers {
		nodes = append(nodes, broker.Addr())
	}
	return s.checkNodes(nodes)
}

func (s saramaClient) offsets(deleted int64) error {
	topic, err := s.filled(10, 1, func(config *sarama.Config) { config.Producer.RequiredAcks = sarama.WaitForAll })
	if err != nil {
		return err
	}
	if deleted > 0 {
		if err := s.admin.DeleteRecords(topic, map[int32]int64{0: deleted}); err != nil {
			return err
		}
	}
	client, err := sarama.NewClient(s.bootstrap, saramaConfig(nil))
	if err != nil {
		return err
	}
	defer client.Close()
	first, err := client.GetOffset(topic, 0, sarama.OffsetOldest)
	if err != nil {
		return err
	}
	last, err := client.GetOffset(topic, 0, sarama.OffsetNewest)
	if err != nil || first != deleted || last != 10 {
		return fmt.Errorf("offsets %d to %d (%v)", first, last, err)
	}
	return nil
}

func (s saramaClient) electLeaders() error {
	topic, err := s.topic(1)
	if err != nil {
		return err
	}
	found, err := s.admin.ElectLeaders(sarama.PreferredElection, map[string][]int32{topic: {0}})
	if err != nil {
		return err
	}
	if failed := found[topic][0]; failed != nil && failed.ErrorCode != sarama.ErrNoError && failed.ErrorCode != sarama.ErrElectionNotNeeded {
		return failed.ErrorCode
	}
	return nil
}
