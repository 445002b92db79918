/*
 * The context switch, AAPCS64. See switch_x86_64.S. From low to high address a saved stack
 * holds x19 … x28, x29 (frame), x30 (pc), d8 … d15: 160 bytes.
 */
    .text
    .globl  rt_switch_
    .hidden rt_switch_
    .type   rt_switch_, %function
    .p2align 5
rt_switch_:
    .cfi_startproc
    sub     sp, sp, #160
    stp     x19, x20, [sp, #0]
    stp     x21, x22, [sp, #16]
    stp     x23, x24, [sp, #32]
    stp     x25, x26, [sp, #48]
    stp     x27, x28, [sp, #64]
    stp     x29, x30, [sp, #80]
    stp     d8, d9, [sp, #96]
    stp     d10, d11, [sp, #112]
    stp     d12, d13, [sp, #128]
    stp     d14, d15, [sp, #144]
    mov     x9, sp
    str     x9, [x0]
    mov     sp, x1
    ldp     x19, x20, [sp, #0]
    ldp     x21, x22, [sp, #16]
    ldp     x23, x24, [sp, #32]
    ldp     x25, x26, [sp, #48]
    ldp     x27, x28, [sp, #64]
    ldp     x29, x30, [sp, #80]
    ldp     d8, d9, [sp, #96]
    ldp     d10, d11, [sp, #112]
    ldp     d12, d13, [sp, #128]
    ldp     d14, d15, [sp, #144]
    add     sp, sp, #160
    mov     x9, x30
    br      x9
    .cfi_endproc
    .size   rt_switch_, . - rt_switch_

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
