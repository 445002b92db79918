/* See start_x86_64.S. */
    .text
    .globl  rt_start_
    .hidden rt_start_
    .type   rt_start_, %function
    .p2align 4
rt_start_:
    .cfi_startproc
    .cfi_undefined x30
    mov     x29, xzr
    mov     x30, xzr
    bl      rt_goroutine_
    brk     #1
    .cfi_endproc
    .size   rt_start_, . - rt_start_

    .section .note.GNU-stack, "", %progbits
