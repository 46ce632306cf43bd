# The way in: from the loader's state to Rust at CPL 3. AT&T syntax.
#
# Upstream: a PVH loader (QEMU, Firecracker: 32-bit, no paging, EBX = hvm_start_info) or a Hermit
# loader (64-bit, RDI = RawBootInfo). Downstream: sluice_boot in machine/boot.rs, at CPL 3.
# Sources: Xen public/arch-x86/hvm/start_info.h; Intel SDM vol. 3 §4.5 (paging), §8.7 (TSS), §10.8.5,
# §10.12.5 (leaving x2APIC mode).
#
# Everything here runs at CPL 0, which a software KVM interprets at some 1,700 cycles an
# instruction: no loops, tables are built by the assembler or later by Rust at CPL 3.

    .set CR0_ON, 0x80010033          # PG WP NE ET MP PE (EM and TS off: SSE works)
    .set CR4_ON, 0x620               # PAE OSFXSR OSXMMEXCPT
    .set EFER, 0xc0000080
    .set EFER_ON, 0x900              # LME NXE
    .set EFER_LMA, 0x400
    .set APIC_BASE, 0x1b
    .set APIC_BASE_ON, {LAPIC} + 0x800
    .set APIC_IS_BOOT_CORE, 0x100

    .set SUPERVISOR_CODE, 0x08
    .set SUPERVISOR_DATA, 0x10
    .set USER_DATA, 0x1b
    .set USER_CODE, 0x23
    .set BOOT_TSS, 0x28

# Firmware may have left the local APIC off, or in x2APIC mode, which has no way back but through off.
    .macro enable_local_apic
    movl $APIC_BASE, %ecx
    rdmsr
    andl $~APIC_IS_BOOT_CORE, %eax
    cmpl $APIC_BASE_ON, %eax
    je 1f
    rdmsr
    andl $APIC_IS_BOOT_CORE, %eax
    xorl %edx, %edx
    wrmsr
    orl $APIC_BASE_ON, %eax
    wrmsr
1:
    .endm

    .section .note.Xen, "a", @note
    .balign 4
    .long 4, 8, 18                   # sizes of name and descriptor, XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .quad sluice_pvh_entry

    .section .supervisor.text, "ax", @progbits
    .code32
    .globl sluice_pvh_entry
sluice_pvh_entry:
    cli
    cld
    # QEMU does not mind when the image does not fit: what is not there keeps nothing.
    movl $1, image_end - 4
    cmpl $1, image_end - 4
    jne too_small
    movl $0, image_end - 4
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
    lgdt gdt_pointer
    ljmp $SUPERVISOR_CODE, $1f
    .code64
1:  movl %ebx, %edi
    movl ${PROTOCOL_PVH}, %esi
    jmp start_data_plane

    .code32
too_small:
    movl $too_small_words, %esi
    movl $0x3f8, %edx                # the first serial port, as the loader left it
1:  lodsb
    testb %al, %al
    jz 2f
    outb %al, %dx
    jmp 1b
2:  movl ${EXIT_PORT}, %edx
    movl ${EXIT_FAILURE}, %eax
    outl %eax, %dx
3:  hlt
    jmp 3b
too_small_words:
    .asciz "sluice: fatal: too little memory: the image itself does not fit\n"
    .code64

    .globl sluice_hermit_entry
sluice_hermit_entry:
    cli
    cld
    movl $EFER, %ecx
    movl $EFER_ON + EFER_LMA, %eax
    xorl %edx, %edx
    wrmsr
    movl $CR4_ON, %eax
    movq %rax, %cr4
    movl $boot_pml4, %eax
    movq %rax, %cr3
    movl $CR0_ON, %eax
    movq %rax, %cr0
    lgdt gdt_pointer
    movl $boot_area + {STACK_TOP}, %esp
    pushq $SUPERVISOR_CODE
    pushq $1f
    lretq
1:  movl ${PROTOCOL_HERMIT}, %esi

# RDI = what the loader left, ESI = which loader. The boot core's area gets what an interrupt or
# a trap needs; Rust fills in the rest before the first of either.
start_data_plane:
    movl $SUPERVISOR_DATA, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl $boot_area, %eax
    movl $boot_area + {STACK_TOP}, %esp
    movq %rsp, {TSS_RSP0}(%rax)
    movw ${TSS_IO_MAP_BASE}, {TSS_IO_MAP}(%rax)
    movb $0xff, {IO_MAP_LAST}(%rax)
    addl ${TSS}, %eax
    movw %ax, sluice_gdt + BOOT_TSS + 2
    shrl $16, %eax
    movb %al, sluice_gdt + BOOT_TSS + 4
    movb %ah, sluice_gdt + BOOT_TSS + 7
    movl $BOOT_TSS, %eax
    ltr %ax
    lidt sluice_idt_pointer
    movb $0xff, %al                  # the legacy interrupt controllers stay silent
    outb %al, $0x21
    outb %al, $0xa1
    enable_local_apic
    xorl %ebp, %ebp                  # backtraces end here
    pushq $USER_DATA
    pushq $boot_stack_top - 8        # as after a call
    pushq $0x2                       # interrupts stay off until there is a table for them
    pushq $USER_CODE
    pushq $sluice_boot
    iretq

    .section .supervisor.data, "aw", @progbits
    .balign 16
    .globl sluice_gdt
sluice_gdt:
    .quad 0
    .quad 0x00af9b000000ffff         # 0x08 code, CPL 0
    .quad 0x00cf93000000ffff         # 0x10 data, CPL 0
    .quad 0x00cff3000000ffff         # 0x18 data, CPL 3
    .quad 0x00affb000000ffff         # 0x20 code, CPL 3
    .rept {MAX_CORES}                # 0x28 + 16 * core: its TSS, the address filled in later
    .quad 0x0000890000000000 + {TSS_LIMIT}
    .quad 0
    .endr
gdt_end:
gdt_pointer:
    .word gdt_end - sluice_gdt - 1
    .quad sluice_gdt
    .balign 8
sluice_idt_pointer:
    .word 4095
    .quad sluice_idt

# The first 4 GiB, one to one, every right: until Rust has built the real tables.
    .balign 4096
    .globl boot_pml4
boot_pml4:
    .quad boot_pdpt + 7
    .fill 511, 8, 0
boot_pdpt:
    .quad boot_pd + 7, boot_pd + 0x1007, boot_pd + 0x2007, boot_pd + 0x3007
    .fill 508, 8, 0
boot_pd:
    .set address, 0
    .rept 2048
    .quad address + 0x87             # present, writable, user, 2 MiB
    .set address, address + 0x200000
    .endr

    .section .supervisor.bss, "aw", @nobits
    .balign 16384
    .globl boot_area
boot_area:
    .skip 16384
    .globl sluice_idt
sluice_idt:
    .skip 4096
