// usage: main WORKLOAD N
//
// The workloads of gobench, in Go: the same work for the same n, printed alike as lines
// "row value unit".
package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"sort"
	"strconv"
	"sync"
	"time"
)

func report(row string, value float64, unit string) {
	fmt.Printf("%s %.6g %s\n", row, value, unit)
}

func reportEach(row string, start time.Time, n int) {
	report(row, float64(time.Since(start).Nanoseconds())/float64(n), "ns")
}

// --- spawn, yield, waking another thread, skynet (sched.c)

const spawnBatch = 1000

func finish(wg *sync.WaitGroup) {
	wg.Done()
}

func spawn(n int) {
	var wg sync.WaitGroup
	start := time.Now()
	for i := 0; i < n; i += spawnBatch {
		for k := 0; k < spawnBatch; k++ {
			wg.Add(1)
			go finish(&wg)
		}
		wg.Wait()
	}
	reportEach("spawn", start, n)
}

func yielder(wg *sync.WaitGroup, n int) {
	for i := 0; i < n; i++ {
		runtime.Gosched()
	}
	wg.Done()
}

func yield(n int) {
	var wg sync.WaitGroup
	runtime.GOMAXPROCS(1)
	wg.Add(2)
	start := time.Now()
	go yielder(&wg, n/2)
	go yielder(&wg, n/2)
	wg.Wait()
	reportEach("yield", start, n)
}

func lockedEcho(in, out chan int32) {
	runtime.LockOSThread()
	for v := range in {
		out <- v
	}
	runtime.UnlockOSThread()
}

func wake(n int) {
	in, out := make(chan int32), make(chan int32)
	runtime.LockOSThread()
	go lockedEcho(in, out)
	start := time.Now()
	for i := 0; i < n; i++ {
		in <- 0
		<-out
	}
	report("wake", float64(time.Since(start).Nanoseconds())/2e3/float64(n), "us")
	close(in)
	runtime.UnlockOSThread()
}

func skynetNode(up chan int, num, size int) {
	if size == 1 {
		up <- num
		return
	}
	down := make(chan int)
	for i := 0; i < 10; i++ {
		go skynetNode(down, num+i*(size/10), size/10)
	}
	sum := 0
	for i := 0; i < 10; i++ {
		sum += <-down
	}
	up <- sum
}

func skynet(n int) {
	result := make(chan int)
	start := time.Now()
	go skynetNode(result, 0, n)
	sum := <-result
	report("skynet", float64(time.Since(start).Nanoseconds())/1e6, "ms")
	if sum != n*(n-1)/2 {
		panic("skynet: wrong sum")
	}
}

// --- channels and select (chan.c)

const capacity = 128

func echo(in, out chan int) {
	for v := range in {
		out <- v
	}
}

func pingpong(n int) {
	in, out := make(chan int), make(chan int)
	go echo(in, out)
	start := time.Now()
	for i := 0; i < n; i++ {
		in <- i
		<-out
	}
	reportEach("pingpong", start, n)
	close(in)
}

func produce(c chan int, n int) {
	for i := 0; i < n; i++ {
		c <- i
	}
}

func fanIn(row string, senders, n int) {
	c := make(chan int, capacity)
	each := n / senders
	start := time.Now()
	for i := 0; i < senders; i++ {
		go produce(c, each)
	}
	for i := 0; i < each*senders; i++ {
		<-c
	}
	reportEach(row, start, each*senders)
}

func selectTwo(n int) {
	a, b := make(chan int), make(chan int)
	start := time.Now()
	go produce(a, n/2)
	go produce(b, n/2)
	for i := 0; i < n/2*2; i++ {
		select {
		case <-a:
		case <-b:
		}
	}
	reportEach("select", start, n/2*2)
}

// --- mutex, context and timers (sync.c)

const (
	sleepers = 100000
	loopers  = 10000
	nap      = 50 * time.Microsecond
)

var mu sync.Mutex

func mutex(n int) {
	start := time.Now()
	for i := 0; i < n; i++ {
		mu.Lock()
		mu.Unlock()
	}
	reportEach("mutex", start, n)
}

func contexts(n int) {
	start := time.Now()
	for i := 0; i < n; i++ {
		_, cancel := context.WithTimeout(context.Background(), time.Second)
		cancel()
	}
	reportEach("context", start, n)
}

func sleeper(wg *sync.WaitGroup, n int) {
	for i := 0; i < n; i++ {
		time.Sleep(time.Microsecond)
	}
	wg.Done()
}

func sleepTogether(goroutines, each int) {
	var wg sync.WaitGroup
	wg.Add(goroutines)
	for i := 0; i < goroutines; i++ {
		go sleeper(&wg, each)
	}
	wg.Wait()
}

func sleepOnce(n int) {
	start := time.Now()
	for i := 0; i < n; i += sleepers {
		sleepTogether(sleepers, 1)
	}
	reportEach("sleep", start, n)
}

func sleepLoop(n int) {
	start := time.Now()
	sleepTogether(loopers, n/loopers)
	reportEach("sleep_loop", start, n)
}

func lateness(n int) {
	late := make([]float64, n)
	for i := range late {
		start := time.Now()
		time.Sleep(nap)
		late[i] = float64((time.Since(start) - nap).Nanoseconds())
	}
	sort.Float64s(late)
	report("late_p50", late[n/2]/1e3, "us")
	report("late_p99", late[n*99/100]/1e3, "us")
}

// --- many goroutines at once (memory.c)

const enough = 1000000

func waitForGate(parked *sync.WaitGroup, gate chan struct{}, gone *sync.WaitGroup) {
	parked.Done()
	<-gate
	gone.Done()
}

func park(n int, gate chan struct{}, gone *sync.WaitGroup) {
	var parked sync.WaitGroup
	for i := 0; i < n; i++ {
		parked.Add(1)
		gone.Add(1)
		go waitForGate(&parked, gate, gone)
	}
	parked.Wait()
}

func rowName(what string, n int) string {
	if n >= 1000000 {
		return fmt.Sprintf("%s_%dM", what, n/1000000)
	}
	return fmt.Sprintf("%s_%dk", what, n/1000)
}

func rss() int {
	var size, resident int
	f, err := os.Open("/proc/self/statm")
	if err != nil {
		panic(err)
	}
	defer f.Close()
	if _, err := fmt.Fscan(f, &size, &resident); err != nil {
		panic(err)
	}
	return resident * os.Getpagesize()
}

func parked(n int) {
	var gone sync.WaitGroup
	before := rss()
	park(n, make(chan struct{}), &gone)
	report(rowName("parked", n), float64(rss()-before)/1024/float64(n), "KiB")
}

func roundOf(n int) {
	var gone sync.WaitGroup
	gate := make(chan struct{})
	park(n, gate, &gone)
	close(gate)
	gone.Wait()
}

func life(n int) {
	rounds := 1
	if n < enough {
		rounds = enough / n
	}
	roundOf(n)
	start := time.Now()
	for i := 0; i < rounds; i++ {
		roundOf(n)
	}
	reportEach(rowName("life", n), start, rounds*n)
}

var workloads = map[string]func(int){
	"spawn": spawn, "yield": yield, "wake": wake, "skynet": skynet,
	"pingpong": pingpong, "buffered": func(n int) { fanIn("buffered", 1, n) },
	"contended4":  func(n int) { fanIn("contended4", 4, n) },
	"contended64": func(n int) { fanIn("contended64", 64, n) },
	"select":      selectTwo, "mutex": mutex, "context": contexts,
	"sleep": sleepOnce, "sleep_loop": sleepLoop,
	"late": lateness, "parked": parked, "life": life,
}

func main() {
	if len(os.Args) == 3 {
		n, err := strconv.Atoi(os.Args[2])
		if run := workloads[os.Args[1]]; run != nil && err == nil && n > 0 {
			run(n)
			return
		}
	}
	fmt.Fprintln(os.Stderr, "usage: main WORKLOAD N")
	os.Exit(2)
}
