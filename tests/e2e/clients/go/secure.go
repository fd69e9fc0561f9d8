package main

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// security: how a client proves who it is, and whom it trusts. Empty: not at all.
type security struct {
	ca, cert, key, mechanism, user, password, topic string
}

func (s security) tls() *tls.Config {
	if s.ca == "" {
		return nil
	}
	text, err := os.ReadFile(s.ca)
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		panic("no certificate in " + s.ca)
	}
	config := &tls.Config{RootCAs: pool}
	if s.cert != "" {
		pair, err := tls.LoadX509KeyPair(s.cert, s.key)
		if err != nil {
			panic(err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config
}

// secureFranz and secureSarama produce records to one partition, and consume them.
func secureFranz(c *checks) {
	c.check("produce and consume", func() error {
		options := []kgo.Opt{kgo.SeedBrokers(c.bootstrap...), kgo.DefaultProduceTopic(c.security.topic),
			kgo.ConsumeTopics(c.security.topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())}
		if config := c.security.tls(); config != nil {
			options = append(options, kgo.DialTLSConfig(config))
		}
		switch c.security.mechanism {
		case "PLAIN":
			options = append(options, kgo.SASL(plain.Auth{User: c.security.user, Pass: c.security.password}.AsMechanism()))
		case "SCRAM-SHA-512":
			options = append(options, kgo.SASL(scram.Auth{User: c.security.user, Pass: c.security.password}.AsSha512Mechanism()))
		}
		client, err := kgo.NewClient(options...)
		if err != nil {
			return err
		}
		defer client.Close()
		ctx, cancel := context.WithTimeout(context.Background(), patient)
		defer cancel()
		for i := range records {
			if err := client.ProduceSync(ctx, kgo.StringRecord(strconv.Itoa(i))).FirstErr(); err != nil {
				return err
			}
		}
		for got := 0; got < records; {
			fetches := client.PollFetches(ctx)
			if errs := fetches.Errors(); len(errs) > 0 {
				return errs[0].Err
			}
			got += fetches.NumRecords()
		}
		return nil
	})
}

// scramClient is RFC 5802 with SHA-512, as sarama wants it.
type scramClient struct {
	user, password, nonce, first string
	step                         int
}

func (s *scramClient) Begin(user, password, _ string) error {
	s.user, s.password, s.nonce, s.step = user, password, rand.Text(), 0
	return nil
}

func (s *scramClient) Done() bool { return s.step > 2 }

func mac(key []byte, text string) []byte {
	h := hmac.New(sha512.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func (s *scramClient) Step(challenge string) (string, error) {
	s.step++
	switch s.step {
	case 1:
		s.first = "n=" + s.user + ",r=" + s.nonce
		return "n,," + s.first, nil
	case 2:
		fields := map[string]string{}
		for _, field := range strings.Split(challenge, ",") {
			fields[field[:1]] = field[2:]
		}
		salt, err := base64.StdEncoding.DecodeString(fields["s"])
		if err != nil {
			return "", err
		}
		rounds, err := strconv.Atoi(fields["i"])
		if err != nil {
			return "", err
		}
		salted, err := pbkdf2.Key(sha512.New, s.password, salt, rounds, sha512.Size)
		if err != nil {
			return "", err
		}
		final := "c=biws,r=" + fields["r"]
		clientKey := mac(salted, "Client Key")
		stored := sha512.Sum512(clientKey)
		proof := mac(stored[:], s.first+","+challenge+","+final)
		for i := range proof {
			proof[i] ^= clientKey[i]
		}
		return final + ",p=" + base64.StdEncoding.EncodeToString(proof), nil
	}
	return "", nil
}

func secureSarama(c *checks) {
	c.check("produce and consume", func() error {
		config := saramaConfig(func(config *sarama.Config) {
			config.Net.TLS.Config = c.security.tls()
			config.Net.TLS.Enable = config.Net.TLS.Config != nil
			if c.security.mechanism != "" {
				config.Net.SASL.Enable = true
				config.Net.SASL.Mechanism = sarama.SASLMechanism(c.security.mechanism)
				config.Net.SASL.User, config.Net.SASL.Password = c.security.user, c.security.password
				config.Net.SASL.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &scramClient{} }
			}
		})
		client, err := sarama.NewClient(c.bootstrap, config)
		if err != nil {
			return err
		}
		defer client.Close()
		producer, err := sarama.NewSyncProducerFromClient(client)
		if err != nil {
			return err
		}
		defer producer.Close()
		first := int64(-1)
		for i := range records {
			_, offset, err := producer.SendMessage(&sarama.ProducerMessage{Topic: c.security.topic, Value: sarama.StringEncoder(strconv.Itoa(i))})
			if err != nil {
				return err
			}
			if first < 0 {
				first = offset
			}
		}
		consumer, err := sarama.NewConsumerFromClient(client)
		if err != nil {
			return err
		}
		defer consumer.Close()
		partition, err := consumer.ConsumePartition(c.security.topic, 0, first)
		if err != nil {
			return err
		}
		defer partition.Close()
		for i := range records {
			if message := <-partition.Messages(); string(message.Value) != strconv.Itoa(i) {
				return fmt.Errorf("%q instead of %d", message.Value, i)
			}
		}
		return nil
	})
}
