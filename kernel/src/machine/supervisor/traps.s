# Exceptions and interrupts. Each comes on its core's supervisor stack, whose area (16 KiB, aligned)
# is found by masking RSP; no entry touches a vector register.
# Intel SDM vol. 3 §6.12, §6.14.

    .section .supervisor.text, "ax", @progbits
    .code64

# One stub of 16 bytes for each exception, so that the gate of vector n is at 16 * n.
    .balign 16
    .globl sluice_exceptions
sluice_exceptions:
    .set vector, 0
    .rept 32
    .balign 16
    .if vector == 6
    jmp invalid_opcode
    .else
    # The processor pushes an error code for these, and the others get a 0 in its place.
    .if (vector == 8) || (vector == 10) || (vector == 11) || (vector == 12) || (vector == 13) || (vector == 14) || (vector == 17) || (vector == 21) || (vector == 29) || (vector == 30)
    .else
    pushq $0
    .endif
    pushq $vector
    jmp exception
    .endif
    .set vector, vector + 1
    .endr

# #UD: the crossing, if it is the one instruction of the gate; any other is a fault.
    .balign 16
invalid_opcode:
    cmpq $sluice_crossing, (%rsp)
    je crossing
    pushq $0
    pushq $6

# Hands the frame to the reporter at CPL 3, on its own stack and with interrupts off. A second
# exception on the same core (the reporter's own) ends the machine here, as does one at CPL 0: but not
# NMI and machine check, which come from outside, and to a core that sleeps.
exception:
    pushq %rax
    pushq %rbx
    pushq %rcx
    pushq %rdx
    pushq %rsi
    pushq %rdi
    pushq %rbp
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %cr2, %rax
    pushq %rax
    testb $3, {FRAME_CS}(%rsp)
    jnz 2f
    cmpl $2, {FRAME_VECTOR}(%rsp)
    je 2f
    cmpl $18, {FRAME_VECTOR}(%rsp)
    jne fatal
2:  movq %rsp, %rbx
    andq $-{AREA_BYTES}, %rbx
    cmpl $0, {AREA_IS_REPORTING}(%rbx)
    jne fatal
    movl $1, {AREA_IS_REPORTING}(%rbx)
    movq {AREA_FRAME}(%rbx), %rdi
    movl ${FRAME_WORDS} - 1, %ecx
1:  movq (%rsp,%rcx,8), %rax
    movq %rax, (%rdi,%rcx,8)
    decl %ecx
    jns 1b
    movl {AREA_INDEX}(%rbx), %esi
    xorl %ebp, %ebp
    pushq $USER_DATA
    pushq {AREA_REPORT_STACK}(%rbx)
    pushq $0x2
    pushq $USER_CODE
    pushq $sluice_report_fault
    iretq

fatal:
    movl $fatal_text, %esi
    movl $fatal_text_end - fatal_text, %ecx
    movl $0x3f8, %edx
1:  movb (%rsi), %al
    outb %al, %dx
    incl %esi
    decl %ecx
    jnz 1b
    movl ${EXIT_FAILURE}, %edi

# Ends the machine with EDI as status: by isa-debug-exit, else by a reset.
    .globl sluice_exit
sluice_exit:
    movl %edi, %eax
    movl ${EXIT_PORT}, %edx
    outl %eax, %dx
    movb $0xfe, %al                  # keyboard controller: reset
    outb %al, $0x64
    lidt no_idt                      # and a triple fault where there is none
    ud2

# The power button's says what it was, and is as any other then.
    .balign 16
    .globl sluice_power_interrupt
sluice_power_interrupt:
    movl $1, SLUICE_POWER_SIGNAL

# Every interrupt (timer, device, another core) only wakes its core.
    .globl sluice_interrupt
sluice_interrupt:
    pushq %rax
    movq %rsp, %rax
    andq $-{AREA_BYTES}, %rax
    movq {AREA_WAKE}(%rax), %rax
    movl $1, (%rax)
    movl ${LAPIC} + 0xb0, %eax       # end of interrupt
    movl $0, (%rax)
    popq %rax
    iretq

    .balign 16
    .globl sluice_spurious
sluice_spurious:
    iretq

    .section .supervisor.data, "aw", @progbits
no_idt:
    .word 0
    .quad 0
fatal_text:
    .ascii "\nsluice: CRASH\nfault: a fault in the supervisor, or in the report of a fault\nsluice: END\n"
fatal_text_end:
