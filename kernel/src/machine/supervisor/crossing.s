# The crossing: the data plane asks the supervisor for what CPL 3 cannot do.
#
# It is a #UD at the one ud2 below, because ud2 is the only crossing that every hypervisor at hand
# delivers (syscall and int arrive broken on a software KVM). EAX = which call, RDI, RSI, RDX =
# arguments, EAX = result (0 done, 1 refused). RCX, RDX, RSI, RDI are the callee's.

    .section .text.sluice_crossing, "ax", @progbits
    .code64
    .globl sluice_crossing
sluice_crossing:
    ud2
    ret

    .section .supervisor.text, "ax", @progbits
crossing:
    addq $2, (%rsp)
    testl %eax, %eax
    jz sleep
    cmpl ${CALL_WAKE}, %eax
    je wake
    cmpl ${CALL_INSTALL}, %eax
    je install
    cmpl ${CALL_NOTHING}, %eax
    jne sluice_exit
    iretq

# Sleeps until an interrupt, at most EDI ticks of the local timer (0: for ever). Interrupts are off
# from the gate to the sti, and an interrupt after the look at the flag ends the hlt: nothing that
# sets the flag is slept over.
sleep:
    movq %rsp, %rcx
    andq $-{AREA_BYTES}, %rcx
    movq {AREA_WAKE}(%rcx), %rcx
    cmpl $0, (%rcx)
    jne 1f
    movl ${LAPIC} + 0x380, %ecx      # initial count: one shot
    movl %edi, (%rcx)
    sti
    hlt
1:  xorl %eax, %eax
    iretq

# Interrupts the core whose local APIC id is in bits 24..31 of EDI.
wake:
    movl ${LAPIC} + 0x310, %ecx
    movl %edi, (%rcx)
    movl ${WAKE_VECTOR} + 0x4000, -0x10(%rcx)
    xorl %eax, %eax
    iretq

# Installs the page tables at RDI with the CR4 bits of RSI (SMEP and UMIP only), and lets interrupts
# in. With EDX = 1 they are the last: the other cores get them too, and the call is refused from here
# on.
install:
    cmpq $0, sluice_sealed_tables
    jne 1f
    movq %rdi, %cr3
    andl $0x100800, %esi
    orl $CR4_ON, %esi
    movq %rsi, %cr4
    orl $0x200, 16(%rsp)
    testl %edx, %edx
    jz 2f
    movq %rsi, sealed_cr4
    movq %rdi, sluice_sealed_tables
2:  xorl %eax, %eax
    iretq
1:  movl $1, %eax
    iretq

    .section .supervisor.data, "aw", @progbits
    .balign 8
sluice_sealed_tables:
    .quad 0
sealed_cr4:
    .quad 0
