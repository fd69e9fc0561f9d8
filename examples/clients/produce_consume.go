// Produces and consumes ten records with franz-go: go run produce_consume.go TOPIC [BOOTSTRAP]
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func run(topic, bootstrap string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ConsumeTopics(topic))
	if err != nil {
		return err
	}
	defer client.Close()
	for i := range 10 {
		record := &kgo.Record{Topic: topic, Value: fmt.Appendf(nil, "record %d", i)}
		if err := client.ProduceSync(ctx, record).FirstErr(); err != nil {
			return err
		}
	}
	for seen := 0; seen < 10; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			fmt.Println(string(r.Value))
			seen++
		})
	}
	return nil
}

func main() {
	bootstrap := "localhost:9092"
	if len(os.Args) > 2 {
		bootstrap = os.Args[2]
	}
	if err := run(os.Args[1], bootstrap); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
