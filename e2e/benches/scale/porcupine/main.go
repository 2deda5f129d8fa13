// Porcupine-coupon gives the history of one campaign to Porcupine, with the same model as the search beside
// it: what one request does to a counter. It exits with 0 where an order exists, 1 where none does, and 2
// where it could not run.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"

	"github.com/anishathalye/porcupine"
)

const usage = "usage: porcupine-coupon HISTORY.jsonl"

// entry is a line of a history, as far as it matters here.
type entry struct {
	Type    string
	Op      uint64
	At      int64
	Coupons int
	Outcome string
}

func main() {
	if len(os.Args) != 2 {
		fail(usage)
	}
	if os.Args[1] == "--help" {
		fmt.Println(usage)
		return
	}
	coupons, operations, err := read(os.Args[1])
	if err != nil {
		fail(err.Error())
	}
	if !porcupine.CheckOperations(campaign(coupons), operations) {
		os.Exit(1)
	}
}

func fail(why string) {
	fmt.Fprintln(os.Stderr, "porcupine-coupon:", why)
	os.Exit(2)
}

// read returns how many coupons there are, and the requests for them.
func read(path string) (coupons int, operations []porcupine.Operation, err error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, nil, err
	}
	defer file.Close()
	place := map[uint64]int{}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		var line entry
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return 0, nil, fmt.Errorf("%s: %w", path, err)
		}
		switch line.Type {
		case "campaign":
			coupons = line.Coupons
		case "invoke":
			place[line.Op] = len(operations)
			// What is not known may have happened at any time after.
			open := porcupine.Operation{Call: line.At, Return: math.MaxInt64, Output: "indeterminate"}
			operations = append(operations, open)
		case "complete":
			if line.Outcome != "indeterminate" {
				at := place[line.Op]
				operations[at].Return, operations[at].Output = line.At, line.Outcome
			}
		}
	}
	return coupons, operations, lines.Err()
}

// campaign counts the coupons that were issued.
func campaign(coupons int) porcupine.Model {
	return porcupine.Model{
		Init: func() interface{} { return 0 },
		Step: func(state, _, told interface{}) (bool, interface{}) {
			issued := state.(int)
			switch told {
			case "issued":
				return issued < coupons, issued + 1
			case "sold_out":
				return issued == coupons, issued
			case "indeterminate":
				if issued < coupons {
					issued++
				}
				return true, issued
			}
			return false, issued
		},
	}
}
