//! The help text.

/// The help text.
pub const USAGE: &str = "\
Sluice serves a folder over HTTP from a unikernel in QEMU.

usage: ./run.sh [run] [SITE_DIR] [FLAGS]   build, pack, boot and serve (default: a site of our own)
       ./run.sh example NAME [FLAGS]       build and boot an appliance of examples/
       ./run.sh build                      build the image: out/sluice.elf
       ./run.sh pack SITE_DIR -o FILE      pack a folder, to be given to QEMU as -initrd
       ./run.sh inspect FILE               list and verify what is in a packed site
       ./run.sh test [FILTER]              host tests, then tests that boot the image
       ./run.sh check                      formatting, lints, docs, house rules
       ./run.sh gdb [SITE_DIR] [FLAGS]     boot stopped, and print the gdb line
       ./run.sh bench NAME                 measurements (see README): quick, requests, connections, cores,
                                           channel, bulk, netem, pack, profile

A folder whose name is that of a command is served with: ./run.sh run NAME

flags of run, example and gdb:
  --port P              port on this machine, 0 for any free one       (default 8080)
  --admin-port P        port on 127.0.0.1 that leads to the admin port; 0 for any free one
  --bind ADDR           IPv4 address on this machine                   (default 127.0.0.1)
  --cores N             processors of the guest, 1 to 32               (default 1)
  --memory MIB          memory of the guest                            (default: site + 128)
  --accel auto|kvm|tcg  how QEMU runs the guest                        (default auto)
  --machine microvm|q35 what QEMU builds                               (default microvm)
  --net user|tap=IFNAME user networking, or a tap that exists          (default user)
  --queues N            queue pairs of the network device; needs a tap (default: as the tap has)
  --rss                 the device brings each connection to its core; needs several queues
  --pcap FILE           write every frame to FILE, for Wireshark; one queue only
  --append \"...\"        more words for the kernel command line; repeatable:
                        ip=dhcp,auto|ADDR/PREFIX,... gateway=ADDR,... port=80
                        cores=N keep-alive=SECONDS stats=SECONDS crash=KIND
                        log=off|error|warn|info|debug|trace
                        more: README.md, and docs/http.md for the server's own
  --dry-run             print the QEMU command and stop
  --timeout S           how long the guest may take to be ready        (default 60)
  --watch               run: pack and boot again when the folder changes
  --verbose             show cargo's output, the QEMU command, what was packed, every warning

flags of pack and run:
  --host NAME=DIR       another site, for requests to NAME (*.NAME: all below it); repeatable
  --compress off|fast|best
                        gzip, br and zstd variants                     (pack: best, run: fast)
  --no-clean-urls       /page does not answer with page.html
  --listing             folders without index.html get a list of their files
  --hidden              pack names that start with a dot, too
  --security-headers    Content-Security-Policy, X-Frame-Options, Referrer-Policy
  --cors ORIGIN         let pages of ORIGIN (* for all) read this site
  --last-modified S     one Last-Modified for all, in Unix seconds     (default: each file's own)

exit codes: 0 done, or stopped as asked; 1 the guest, a build or a test failed; 2 wrong use;
            3 something is missing; 129, 130, 143 SIGHUP, SIGINT (Ctrl-C) or SIGTERM came before
            it served or was done
";
