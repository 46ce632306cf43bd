//! The folder of the browser's test: a page with sixty assets whose script tries out what a site needs
//! of its server, and says on the console what came of it.

use crate::folder::Folder;

/// Assets that the page refers to.
pub(crate) const ASSETS: usize = 60;

/// Seconds of sound.
const SECONDS: u32 = 60;
/// Where the script seeks to.
const SEEK: u32 = 50;

/// Makes the folder.
pub(crate) fn folder() -> Folder {
    let mut folder = Folder::new();
    let mut head = String::new();
    let mut body = String::new();
    for number in 0..ASSETS {
        let path = match number % 3 {
            0 => {
                head.push_str(&format!("<link rel=stylesheet href=/s{number}.css>"));
                format!("/s{number}.css")
            }
            1 => {
                body.push_str(&format!("<script src=/j{number}.js></script>"));
                format!("/j{number}.js")
            }
            _ => {
                body.push_str(&format!("<img src=/i{number}.svg alt=''>"));
                format!("/i{number}.svg")
            }
        };
        let content = match number % 3 {
            0 => format!("#n{number} {{ width: {number}px }}"),
            1 => format!("window.loaded = (window.loaded || 0) + {number};"),
            _ => format!(
                "<svg xmlns='http://www.w3.org/2000/svg' width='{number}' height='1'></svg>"
            ),
        };
        folder.add(&path, content.into_bytes());
    }
    let text: String = (0..20_000).map(|line| format!("line {line}\n")).collect();
    folder.add("/text.txt", text.into_bytes());
    folder.add("/sound.wav", wav());
    for name in ["first", "second"] {
        let page = format!(
            "<!doctype html><title>{name}</title><link rel=icon href=data:,>\
             <script src=/walk.js></script>"
        );
        folder.add(&format!("/{name}.html"), page.into_bytes());
    }
    folder.add("/walk.js", WALK.as_bytes().to_vec());
    let page = format!(
        "<!doctype html><html><head><meta charset=utf-8><title>sixty</title>{head}\
         <link rel=icon href=data:,></head><body>{body}\
         <video id=video src=/sound.wav preload=metadata></video>\
         <script>{}</script></body></html>",
        SCRIPT.replace("SEEK", &SEEK.to_string())
    );
    folder.add("/index.html", page.into_bytes());
    folder
}

/// Mono sound of 16 bits at 48 kHz: a slow saw.
fn wav() -> Vec<u8> {
    const RATE: u32 = 48_000;
    let bytes = RATE * SECONDS * 2;
    let mut wav = b"RIFF".to_vec();
    wav.extend((36 + bytes).to_le_bytes());
    wav.extend(b"WAVEfmt ");
    wav.extend(16_u32.to_le_bytes());
    wav.extend([1, 0, 1, 0]);
    wav.extend(RATE.to_le_bytes());
    wav.extend((RATE * 2).to_le_bytes());
    wav.extend([2, 0, 16, 0]);
    wav.extend(b"data");
    wav.extend(bytes.to_le_bytes());
    wav.extend((0..RATE * SECONDS).flat_map(|at| ((at % 256) as i16).to_le_bytes()));
    wav
}

/// Each step adds `NAME: VALUE`; the last is `done`.
const SCRIPT: &str = r#"
const lines = [];
const tell = (name, value) => lines.push(name + ': ' + value);
const event = (on, name) => new Promise((done, fail) => {
    on.addEventListener(name, done, { once: true });
    on.addEventListener('error', () => fail(name + ' failed'), { once: true });
});
const run = async () => {
    const answer = await fetch('/text.txt');
    const whole = await answer.text();
    tell('coding', answer.headers.get('Content-Encoding'));
    tell('text', whole.length + ' ' + whole.endsWith('line 19999\n'));
    const part = await fetch('/text.txt', { headers: { Range: 'bytes=10-19' }, cache: 'no-store' });
    const bytes = await part.text();
    tell('range', part.status + ' ' + part.headers.get('Content-Range') + ' '
        + (bytes === whole.slice(10, 20)));
    const beyond = await fetch('/text.txt', { headers: { Range: 'bytes=9999999-' }, cache: 'no-store' });
    tell('beyond', beyond.status);
    const again = await fetch('/text.txt', { cache: 'no-cache' });
    tell('again', again.status + ' ' + ((await again.text()) === whole));
    const video = document.getElementById('video');
    if (video.readyState < 1) { await event(video, 'loadedmetadata'); }
    tell('duration', video.duration);
    const seeked = event(video, 'seeked');
    video.currentTime = SEEK;
    await seeked;
    tell('seeked', video.currentTime);
};
window.addEventListener('load', () => {
    tell('scripts', window.loaded);
    tell('images', [...document.images].filter(image => image.naturalWidth > 0).length);
    tell('styles', document.styleSheets.length);
    run().then(() => tell('done', ''), reason => tell('failed', reason)).then(() => {
        sessionStorage.setItem('lines', JSON.stringify(lines));
        location.href = '/first.html';
    });
});
"#;

/// From the first page to the second, back, forward, and once more; each arrival is a line.
const WALK: &str = r#"
const walk = [
    () => { location.href = '/second.html'; },
    () => history.back(),
    () => history.forward(),
    () => location.reload(),
];
addEventListener('pageshow', () => setTimeout(() => {
    const lines = JSON.parse(sessionStorage.getItem('lines'));
    const step = Number(sessionStorage.getItem('step') || 0);
    lines.push('at: ' + document.title);
    sessionStorage.setItem('lines', JSON.stringify(lines));
    sessionStorage.setItem('step', step + 1);
    if (walk[step]) {
        walk[step]();
    } else {
        console.log('RESULT ' + lines.join(' | ') + ' END');
    }
}, 50));
"#;
