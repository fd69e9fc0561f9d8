// Tries the features of one Go client, one after the other, and prints what became of each as JSON: "ok", or what failed.
//
//	features CLIENT bootstrap=HOST:PORT,... nodes=HOST:PORT,...
//	features "secure CLIENT" bootstrap=... topic=NAME [ca=FILE] [cert=FILE key=FILE] [mechanism=NAME user=NAME password=TEXT]
//
//	features rights bootstrap=HOST:PORT id=CLIENT-ID ACTION... (rights.go)
//
// nodes: where brokers may be said to be.
package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strings"
	"time"
)

const (
	records = 50
	patient = 60 * time.Second
)

type checks struct {
	bootstrap []string
	nodes     map[string]bool
	results   map[string]string
	security  security
}

func (c *checks) check(feature string, run func() error) {
	defer func() {
		if crash := recover(); crash != nil {
			c.results[feature] = fmt.Sprint(crash)
		}
	}()
	if err := run(); err != nil {
		c.results[feature] = err.Error()
		return
	}
	c.results[feature] = "ok"
}

// checkNodes fails if a broker is said to be anywhere but where it may be.
func (c *checks) checkNodes(found []string) error {
	if len(found) == 0 {
		return fmt.Errorf("no nodes")
	}
	for _, node := range found {
		if !c.nodes[node] {
			return fmt.Errorf("%s is none of %v", node, c.nodes)
		}
	}
	return nil
}

func name(prefix string) string {
	return prefix + "-" + rand.Text()[:10]
}

func values(what string, count int) []string {
	all := make([]string, count)
	for i := range all {
		all[i] = fmt.Sprintf("%s%d", what, i)
	}
	return all
}

// same: every record once, none besides.
func same(got, due []string) error {
	a, b := append([]string{}, got...), append([]string{}, due...)
	sort.Strings(a)
	sort.Strings(b)
	if strings.Join(a, " ") != strings.Join(b, " ") {
		return fmt.Errorf("%d records of %d, or others", len(got), len(due))
	}
	return nil
}

func until(what string, condition func() (bool, error)) error {
	var last error
	for end := time.Now().Add(patient); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		done, err := condition()
		if done {
			return nil
		}
		last = err
	}
	return fmt.Errorf("not in time: %s (%v)", what, last)
}

func main() {
	if os.Args[1] == "rights" {
		rights()
		return
	}
	c := &checks{results: map[string]string{}, nodes: map[string]bool{}}
	for _, argument := range os.Args[2:] {
		key, value, _ := strings.Cut(argument, "=")
		switch key {
		case "bootstrap":
			c.bootstrap = strings.Split(value, ",")
		case "nodes":
			for _, node := range strings.Split(value, ",") {
				c.nodes[node] = true
			}
		default:
			*map[string]*string{"ca": &c.security.ca, "cert": &c.security.cert, "key": &c.security.key, "mechanism": &c.security.mechanism,
				"user": &c.security.user, "password": &c.security.password, "topic": &c.security.topic}[key] = value
		}
	}
	map[string]func(*checks){"franz-go": franz, "sarama": saramaFeatures, "kafka-go": kafkaGo,
		"secure franz-go": secureFranz, "secure sarama": secureSarama}[os.Args[1]](c)
	text, err := json.Marshal(c.results)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(text))
}
