/*
 * First instructions of every goroutine, reached by ctx_switch() (context.h) on a fresh
 * stack: aligns it, ends the frame chain and calls rt_goroutine_(), which does not return.
 */
    .text
    .globl  rt_start_
    .hidden rt_start_
    .type   rt_start_, @function
    .p2align 4
rt_start_:
    .cfi_startproc
    .cfi_undefined rip
    andq    $-16, %rsp
    xorl    %ebp, %ebp
    call    rt_goroutine_
    ud2
    .cfi_endproc
    .size   rt_start_, . - rt_start_

    .section .note.GNU-stack, "", @progbits
