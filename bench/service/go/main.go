// usage: service-go fetch URL COUNT | read FILE | sum FILE
//
// What gojobd's fetch, read and sum jobs do, as a Go programmer would write it with the
// standard library; printed as lines "row value unit".
package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const atOnce = 64

func report(row string, value float64, unit string) {
	fmt.Printf("%s %.6g %s\n", row, value, unit)
}

func get(client *http.Client, url string) error {
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s", resp.Status)
	}
	hash.Sum(nil)
	return nil
}

func fetch(url string, count int64) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: atOnce}}
	var wg sync.WaitGroup
	left := count
	start := time.Now()
	for i := 0; i < atOnce; i++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for atomic.AddInt64(&left, -1) >= 0 {
				if err := get(client, url); err != nil {
					log.Fatal(err)
				}
			}
		}()
	}
	wg.Wait()
	report("fetch", float64(count)/time.Since(start).Seconds(), "1/s")
}

func open(path string) *os.File {
	f, err := os.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	return f
}

func read(path string) {
	start := time.Now()
	f := open(path)
	hash := sha256.New()
	size, lines := 0, 0
	buf := make([]byte, 1<<20)
	for {
		n, err := f.Read(buf)
		hash.Write(buf[:n])
		lines += bytes.Count(buf[:n], []byte{'\n'})
		size += n
		if err == io.EOF {
			break
		} else if err != nil {
			log.Fatal(err)
		}
	}
	fmt.Fprintf(os.Stderr, "%d %d %x\n", size, lines, hash.Sum(nil))
	report("read", float64(time.Since(start).Milliseconds()), "ms")
}

func sum(path string) {
	start := time.Now()
	lines := bufio.NewScanner(open(path))
	var total int64
	for lines.Scan() {
		n, err := strconv.ParseInt(lines.Text(), 10, 64)
		if err != nil {
			log.Fatal(err)
		}
		total += n
	}
	fmt.Fprintln(os.Stderr, total)
	report("sum", float64(time.Since(start).Milliseconds()), "ms")
}

func main() {
	switch {
	case len(os.Args) == 4 && os.Args[1] == "fetch":
		count, err := strconv.ParseInt(os.Args[3], 10, 64)
		if err != nil {
			log.Fatal(err)
		}
		fetch(os.Args[2], count)
	case len(os.Args) == 3 && os.Args[1] == "read":
		read(os.Args[2])
	case len(os.Args) == 3 && os.Args[1] == "sum":
		sum(os.Args[2])
	default:
		fmt.Fprintln(os.Stderr, "usage: service-go fetch URL COUNT | read FILE | sum FILE")
		os.Exit(2)
	}
}
