// Pictures, made small with qCompress, as binary messages: sends those you name, or saves what comes.
//
//   g++ -std=c++17 -fPIC images.cpp -o images $(pkg-config --cflags --libs Qt6WebSockets Qt6Gui)
//   ./images ws://localhost:8888/raw/images                 saves image-1.png, image-2.png, …
//   ./images ws://localhost:8888/raw/images cat.png dog.jpg
//
// The page shows them too: http://localhost:8888/?channel=images

#include <QBuffer>
#include <QCoreApplication>
#include <QImage>
#include <QTextStream>
#include <QUrl>
#include <QWebSocket>
#include <QtEndian>

const quint32 LARGEST = 16 * 1024 * 1024;

QByteArray packed(const QImage &image)
{
    QBuffer png;
    image.save(&png, "PNG", 100); // 100 packs nothing: that is left to qCompress
    return qCompress(png.data());
}

QImage unpacked(const QByteArray &bytes)
{
    // qUncompress allocates what the first four bytes claim, and they come from a stranger.
    if (bytes.size() < 4 || qFromBigEndian<quint32>(bytes.constData()) > LARGEST)
        return {};
    return QImage::fromData(qUncompress(bytes));
}

int main(int argc, char *argv[])
{
    QCoreApplication app(argc, argv);
    const QUrl url(app.arguments().value(1, "ws://localhost:8888/raw/images"));
    QTextStream out(stdout);
    QTextStream note(stderr);

    QList<QByteArray> sending;
    for (const QString &file : app.arguments().mid(2)) {
        const QImage image(file);
        if (image.isNull()) {
            note << file << " is no picture" << Qt::endl;
            return 1;
        }
        sending << packed(image);
    }
    const bool saving = sending.isEmpty();
    int saved = 0;

    QWebSocket socket;
    QObject::connect(&socket, &QWebSocket::connected, [&] {
        note << "-- on " << url.toString() << Qt::endl;
        for (const QByteArray &bytes : std::as_const(sending))
            socket.sendBinaryMessage(bytes);
    });
    QObject::connect(&socket, &QWebSocket::binaryMessageReceived, [&](const QByteArray &bytes) {
        if (saving) {
            const QImage image = unpacked(bytes);
            const QString file = QString("image-%1.png").arg(++saved);
            if (image.save(file))
                out << file << ' ' << image.width() << 'x' << image.height() << Qt::endl;
            else
                note << bytes.size() << " bytes that are no picture" << Qt::endl;
        } else if (sending.removeOne(bytes)) { // it came back to us, so it was published
            out << "sent " << bytes.size() << " bytes" << Qt::endl;
            if (sending.isEmpty())
                socket.close();
        }
    });
    QObject::connect(&socket, &QWebSocket::disconnected, [&] {
        const bool done = !saving && sending.isEmpty();
        const QString why = socket.closeReason();
        if (!done)
            note << "-- lost: " << (why.isEmpty() ? socket.errorString() : why) << Qt::endl;
        app.exit(done ? 0 : 1);
    });
    socket.open(url);
    return app.exec();
}
