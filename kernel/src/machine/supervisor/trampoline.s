# The other cores' way in: real mode at {TRAMPOLINE} (a copy of the code below), then long mode on the boot
# tables, then asleep until the page tables are sealed, then Rust at CPL 3.
# Intel SDM vol. 3 §8.4.4 (start-up of application processors).

    .section .supervisor.text, "ax", @progbits
    .code16
    .globl sluice_trampoline
sluice_trampoline:
    cli
    xorw %ax, %ax
    movw %ax, %ds
    lgdtl {TRAMPOLINE} + (trampoline_gdt - sluice_trampoline)
    movl $boot_pml4, %eax
    movl %eax, %cr3
    movl $CR4_ON, %eax
    movl %eax, %cr4
    movl $EFER, %ecx
    movl $EFER_ON, %eax
    xorl %edx, %edx
    wrmsr
    movl $CR0_ON, %eax
    movl %eax, %cr0
    ljmpl $SUPERVISOR_CODE, $start_core
trampoline_gdt:
    .word gdt_end - sluice_gdt - 1
    .long sluice_gdt
    .globl sluice_trampoline_end
sluice_trampoline_end:

    .code64
start_core:
    movl $SUPERVISOR_DATA, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
# Cores are numbered as they come; who finds no area left stays out.
    movl $1, %ebx
    lock xaddl %ebx, sluice_cores_arrived
    cmpl sluice_areas, %ebx
    jae park
    movl %ebx, %ecx
    shll $14, %ebx
    addq sluice_areas + 8, %rbx
    leaq {STACK_TOP}(%rbx), %rsp
    shll $4, %ecx
    addl $BOOT_TSS + 16, %ecx
    ltr %cx
    lidt sluice_idt_pointer
    enable_local_apic
    movl ${LAPIC}, %ecx
    movl $0x1ff, 0xf0(%rcx)          # on, spurious vector 255
    movl $0xb, 0x3e0(%rcx)           # timer: divide by 1, one shot
    movl ${TIMER_VECTOR}, 0x320(%rcx)
    movl 0x20(%rcx), %eax
    shrl $24, %eax
    movl %eax, {AREA_APIC_ID}(%rbx)
    movl $1, {AREA_IS_STARTED}(%rbx)
1:  cli
    movq sluice_sealed_tables, %rax
    testq %rax, %rax
    jnz 2f
    sti
    hlt
    jmp 1b
2:  movq %rax, %cr3
    movq sealed_cr4, %rax
    movq %rax, %cr4
    movl {AREA_INDEX}(%rbx), %edi
    xorl %ebp, %ebp
    pushq $USER_DATA
    pushq {AREA_ENTRY_STACK}(%rbx)
    pushq $0x202
    pushq $USER_CODE
    pushq $sluice_core_main
    iretq

park:
    hlt
    jmp park

    .section .supervisor.data, "aw", @progbits
    .balign 8
    .globl sluice_areas, sluice_cores_arrived
sluice_areas:
    .quad 0                          # how many areas, for cores 1 and up
    .quad 0                          # the address of the first
sluice_cores_arrived:
    .long 0
