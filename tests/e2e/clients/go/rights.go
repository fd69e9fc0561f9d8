package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// rights: franz-go does things one after the other, as ../../java/Rights.java, and says what became of each.
func rights() {
	for _, argument := range os.Args[4:] {
		action, rest, _ := strings.Cut(argument, "=")
		said := "ok"
		if err := attempt(strings.TrimPrefix(os.Args[2], "bootstrap="), strings.TrimPrefix(os.Args[3], "id="), action, strings.Split(rest, ",")); err != nil {
			said = strings.ReplaceAll(err.Error(), "\n", " ")
		}
		fmt.Println(said)
	}
}

func attempt(bootstrap, id, action string, names []string) error {
	options := []kgo.Opt{kgo.SeedBrokers(bootstrap), kgo.ClientID(id), kgo.RecordDeliveryTimeout(30 * time.Second)}
	switch action {
	case "assign":
		options = append(options, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{names[0]: {0: kgo.NewOffset().AtStart()}}))
	case "group":
		options = append(options, kgo.ConsumerGroup(names[1]), kgo.ConsumeTopics(names[0]), kgo.DisableAutoCommit(),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	case "produce":
		options = append(options, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	switch action {
	case "produce":
		return client.ProduceSync(ctx, &kgo.Record{Topic: names[0], Value: []byte("x")}).FirstErr()
	case "create":
		_, err := kadm.NewClient(client).CreateTopic(ctx, 1, 1, nil, names[0])
		return err
	}
	for {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		if fetches.NumRecords() > 0 {
			if action == "group" {
				return client.CommitUncommittedOffsets(ctx)
			}
			return nil
		}
	}
}
