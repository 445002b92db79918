/*
 * The context switch: save this stack pointer, take that one, go on there.
 *
 * Inline assembly that declares every register clobbered, so the compiler saves exactly the
 * ones that are live; only the frame pointer and the address to resume at are stored by
 * hand. Compared with a called function (push six registers, switch, pop, ret or jump) it
 * does less, and above all it makes neither a call without a return nor a return without
 * a call: both would put the processor's return predictor out of step, and every return on
 * the way out of the park would mispredict (measured: 29 ns a yield against 10 ns).
 *
 * A saved stack pointer points at two words: the address to resume at, the frame pointer.
 * The floating-point control words are not switched: they belong to the thread, as in Go.
 */
#ifndef GOJOBD_RUNTIME_SCHED_CONTEXT_H
#define GOJOBD_RUNTIME_SCHED_CONTEXT_H

enum { CTX_PC, CTX_FP, CTX_WORDS }; /* what a saved stack pointer points at */

/* Where a new context starts: calls rt_goroutine_(). start_*.S. */
void rt_start_(void);

#if defined(__x86_64__)

static inline __attribute__((always_inline)) void
ctx_switch(void **save, void *load)
{
    __asm__ volatile("leaq  -128(%%rsp), %%rsp\n\t" /* the red zone is the function's */
                     "pushq %%rbp\n\t"
                     "leaq  1f(%%rip), %%rax\n\t"
                     "pushq %%rax\n\t"
                     "movq  %%rsp, (%0)\n\t"
                     "movq  %1, %%rsp\n\t"
                     "popq  %%rax\n\t"
                     "jmpq  *%%rax\n"
                     "1:\n\t"
                     "popq  %%rbp\n\t"
                     "leaq  128(%%rsp), %%rsp"
                     : "+D"(save), "+S"(load)
                     :
                     : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13",
                       "r14", "r15", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5",
                       "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13",
                       "xmm14", "xmm15", "cc", "memory");
}

#elif defined(__aarch64__)

static inline __attribute__((always_inline)) void
ctx_switch(void **save, void *load)
{
    register void **to __asm__("x0") = save;
    register void *from __asm__("x1") = load;

    __asm__ volatile("sub  sp, sp, #16\n\t"
                     "adr  x9, 1f\n\t"
                     "stp  x9, x29, [sp]\n\t"
                     "mov  x9, sp\n\t"
                     "str  x9, [%0]\n\t"
                     "mov  sp, %1\n\t"
                     "ldp  x9, x29, [sp]\n\t"
                     "add  sp, sp, #16\n\t"
                     "br   x9\n"
                     "1:"
                     : "+r"(to), "+r"(from)
                     :
                     : "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11",
                       "x12", "x13", "x14", "x15", "x16", "x17", "x18", "x19", "x20",
                       "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x30",
                       "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10",
                       "v11", "v12", "v13", "v14", "v15", "v16", "v17", "v18", "v19",
                       "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28",
                       "v29", "v30", "v31", "cc", "memory");
}

#else
#error "goroutine: no context switch for this processor"
#endif

#endif
