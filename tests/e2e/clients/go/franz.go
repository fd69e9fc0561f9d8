package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

type franzClient struct {
	*checks
	admin *kadm.Client
}

func franz(c *checks) {
	client, err := kgo.NewClient(kgo.SeedBrokers(c.bootstrap...))
	if err != nil {
		panic(err)
	}
	defer client.Close()
	f := franzClient{c, kadm.NewClient(client)}
	plain := kgo.DisableIdempotentWrite()
	c.check("produce acks=0", func() error { return f.unacknowledged(plain, kgo.RequiredAcks(kgo.NoAck())) })
	c.check("produce acks=1", func() error { return f.produce(plain, kgo.RequiredAcks(kgo.LeaderAck())) })
	c.check("produce acks=all", func() error { return f.produce(plain, kgo.RequiredAcks(kgo.AllISRAcks())) })
	c.check("idempotent producer", func() error { return f.produce() })
	c.check("transactions", f.transactions)
	c.check("compression", f.compression)
	c.check("consumer group (classic)", func() error { return f.group() })
	c.check("consumer group (KIP-848)", func() error {
		return f.group(kgo.ServerSideBalancer(), kgo.Balancers(kgo.RangeBalancer()))
	})
	c.check("share group", f.share)
	c.check("admin: topics", f.topics)
	c.check("admin: configs", f.configs)
	c.check("admin: groups", f.groups)
	c.check("admin: describe cluster", f.describeCluster)
	c.check("admin: delete records", func() error { return f.offsets(4) })
	c.check("admin: list offsets", func() error { return f.offsets(0) })
	c.check("admin: elect leaders", f.electLeaders)
}

func deadline() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), patient)
}

func (f franzClient) topic(partitions int32) (string, error) {
	ctx, cancel := deadline()
	defer cancel()
	topic := name("f")
	_, err := f.admin.CreateTopic(ctx, partitions, 3, nil, topic)
	return topic, err
}

func (f franzClient) client(options ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(f.bootstrap...)}, options...)...)
}

func send(client *kgo.Client, topic string, all []string) error {
	ctx, cancel := deadline()
	defer cancel()
	batch := make([]*kgo.Record, len(all))
	for i, value := range all {
		batch[i] = &kgo.Record{Topic: topic, Value: []byte(value)}
	}
	return client.ProduceSync(ctx, batch...).FirstErr()
}

func read(client *kgo.Client, due []string, once bool) error {
	got := []string{}
	seen := map[string]bool{}
	ctx, cancel := deadline()
	defer cancel()
	for len(seen) < len(due) && ctx.Err() == nil {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if once || !seen[string(r.Value)] {
				got = append(got, string(r.Value))
			}
			seen[string(r.Value)] = true
		})
	}
	return same(got, due)
}

func (f franzClient) readGroup(topic string, due []string, more ...kgo.Opt) (string, error) {
	group := name("g")
	options := []kgo.Opt{kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted())}
	client, err := f.client(append(options, more...)...)
	if err != nil {
		return group, err
	}
	defer client.Close()
	if err := read(client, due, true); err != nil {
		return group, err
	}
	if err := client.CommitUncommittedOffsets(context.Background()); err != nil {
		return group, err
	}
	found, err := f.admin.FetchOffsets(context.Background(), group)
	if err != nil {
		return group, err
	}
	var committed int64
	found.Each(func(o kadm.OffsetResponse) { committed += o.At })
	if committed < int64(len(due)) {
		return group, fmt.Errorf("committed offsets are %d", committed)
	}
	return group, nil
}

func (f franzClient) produce(options ...kgo.Opt) error {
	topic, err := f.topic(3)
	if err != nil {
		return err
	}
	client, err := f.client(options...)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := send(client, topic, values("v", records)); err != nil {
		return err
	}
	_, err = f.readGroup(topic, values("v", records))
	return err
}

// A record is lost without a word when the topic is so new that its leaders are not there yet: others come first.
func (f franzClient) unacknowledged(options ...kgo.Opt) error {
	topic, err := f.filled(records, 3)
	if err != nil {
		return err
	}
	client, err := f.client(options...)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := send(client, topic, values("w", records)); err != nil {
		return err
	}
	_, err = f.readGroup(topic, append(values("v", records), values("w", records)...))
	return err
}

func (f franzClient) compression() error {
	for _, codec := range []kgo.CompressionCodec{kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()} {
		if err := f.produce(kgo.ProducerBatchCompression(codec)); err != nil {
			return err
		}
	}
	return nil
}

func (f franzClient) transactions() error {
	topic, err := f.topic(2)
	if err != nil {
		return err
	}
	client, err := f.client(kgo.TransactionalID(name("t")))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := deadline()
	defer cancel()
	for _, step := range []struct {
		what string
		end  kgo.TransactionEndTry
	}{{"aborted", kgo.TryAbort}, {"v", kgo.TryCommit}} {
		if err := client.BeginTransaction(); err != nil {
			return err
		}
		if err := send(client, topic, values(step.what, records)); err != nil {
			return err
		}
		if err := client.EndTransaction(ctx, step.end); err != nil {
			return err
		}
	}
	_, err = f.readGroup(topic, values("v", records))
	return err
}

func (f franzClient) filled(count int, partitions int32) (string, error) {
	topic, err := f.topic(partitions)
	if err != nil {
		return topic, err
	}
	client, err := f.client()
	if err != nil {
		return topic, err
	}
	defer client.Close()
	return topic, send(client, topic, values("v", count))
}

func (f franzClient) group(options ...kgo.Opt) error {
	topic, err := f.filled(records, 3)
	if err != nil {
		return err
	}
	_, err = f.readGroup(topic, values("v", records), options...)
	return err
}

func (f franzClient) share() error {
	topic, err := f.filled(records, 2)
	if err != nil {
		return err
	}
	group := name("s")
	if err := f.shareFromStart(group); err != nil {
		return err
	}
	client, err := f.client(kgo.ShareGroup(group), kgo.ConsumeTopics(topic))
	if err != nil {
		return err
	}
	defer client.Close()
	return read(client, values("v", records), false)
}

func (f franzClient) topics() error {
	topic, err := f.topic(4)
	if err != nil {
		return err
	}
	ctx, cancel := deadline()
	defer cancel()
	if err := until("four partitions", func() (bool, error) {
		found, err := f.admin.ListTopics(ctx, topic)
		return err == nil && len(found[topic].Partitions) == 4, err
	}); err != nil {
		return err
	}
	_, err = f.admin.DeleteTopics(ctx, topic)
	return err
}

func (f franzClient) configs() error {
	topic, err := f.topic(1)
	if err != nil {
		return err
	}
	ctx, cancel := deadline()
	defer cancel()
	value := "4711"
	if _, err := f.admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &value}}, topic); err != nil {
		return err
	}
	return until("the new setting", func() (bool, error) {
		found, err := f.admin.DescribeTopicConfigs(ctx, topic)
		if err != nil {
			return false, err
		}
		for _, config := range found[0].Configs {
			if config.Key == "retention.ms" && config.MaybeValue() == value {
				return true, nil
			}
		}
		return false, nil
	})
}

func (f franzClient) groups() error {
	topic, err := f.filled(records, 1)
	if err != nil {
		return err
	}
	group, err := f.readGroup(topic, values("v", records))
	if err != nil {
		return err
	}
	ctx, cancel := deadline()
	defer cancel()
	listed, err := f.admin.ListGroups(ctx)
	if err != nil || listed[group].Group != group {
		return fmt.Errorf("not listed: %v", err)
	}
	described, err := f.admin.DescribeGroups(ctx, group)
	if err != nil || described[group].Err != nil {
		return fmt.Errorf("not described: %v %v", err, described[group].Err)
	}
	return until("the group is deleted", func() (bool, error) {
		deleted, err := f.admin.DeleteGroups(ctx, group)
		return err == nil && deleted.Error() == nil, errors.Join(err, deleted.Error())
	})
}

func (f franzClient) describeCluster() error {
	ctx, cancel := deadline()
	defer cancel()
	found, err := f.admin.BrokerMetadata(ctx)
	if err != nil {
		return err
	}
	nodes := []string{}
	for _, broker := range found.Brokers {
		nodes = append(nodes, fmt.Sprintf("%s:%d", broker.Host, broker.Port))
	}
	return f.checkNodes(nodes)
}

func (f franzClient) offsets(deleted int64) error {
	topic, err := f.filled(10, 1)
	if err != nil {
		return err
	}
	ctx, cancel := deadline()
	defer cancel()
	if deleted > 0 {
		offsets := kadm.Offsets{}
		offsets.AddOffset(topic, 0, deleted, -1)
		if _, err := f.admin.DeleteRecords(ctx, offsets); err != nil {
			return err
		}
	}
	first, err := f.admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return err
	}
	last, err := f.admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return err
	}
	if first[topic][0].Offset != deleted || last[topic][0].Offset != 10 {
		return fmt.Errorf("offsets %d to %d", first[topic][0].Offset, last[topic][0].Offset)
	}
	return nil
}

func (f franzClient) electLeaders() error {
	topic, err := f.topic(1)
	if err != nil {
		return err
	}
	ctx, cancel := deadline()
	defer cancel()
	set := kadm.TopicsSet{}
	set.Add(topic, 0)
	found, err := f.admin.ElectLeaders(ctx, kadm.ElectPreferredReplica, set)
	if err != nil {
		return err
	}
	if failed := found[topic][0].Err; failed != nil && !errors.Is(failed, kerr.ElectionNotNeeded) {
		return failed
	}
	return nil
}

// A share group begins at the end of a topic unless it is told otherwise.
func (f franzClient) shareFromStart(group string) error {
	ctx, cancel := deadline()
	defer cancel()
	client, err := f.client()
	if err != nil {
		return err
	}
	defer client.Close()
	value := "earliest"
	request := kmsg.NewPtrIncrementalAlterConfigsRequest()
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeGroupConfig, group
	config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	config.Name, config.Value = "share.auto.offset.reset", &value
	resource.Configs = append(resource.Configs, config)
	request.Resources = append(request.Resources, resource)
	response, err := request.RequestWith(ctx, client)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(response.Resources[0].ErrorCode)
}
