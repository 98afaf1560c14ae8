// A chat in the terminal: each line you type goes to everybody on the channel, and theirs to you.
// Comes back by itself when the connection is lost.
//
//   g++ -std=c++17 -fPIC chat.cpp -o chat $(pkg-config --cflags --libs Qt6WebSockets Qt6Core)
//   ./chat
//   ./chat "ws://localhost:8888/raw/chat?echo=0"     does not tell you what you have said yourself

#include <QCoreApplication>
#include <QFile>
#include <QSocketNotifier>
#include <QTextStream>
#include <QTimer>
#include <QUrl>
#include <QWebSocket>

int main(int argc, char *argv[])
{
    QCoreApplication app(argc, argv);
    const QUrl url(app.arguments().value(1, "ws://localhost:8888/raw/chat"));
    QTextStream out(stdout);
    QTextStream note(stderr);
    bool joined = false;
    bool leaving = false;

    QWebSocket socket;
    QObject::connect(&socket, &QWebSocket::connected, [&] {
        joined = true;
        note << "-- on " << url.toString() << Qt::endl;
    });
    QObject::connect(&socket, &QWebSocket::textMessageReceived, [&](const QString &text) {
        out << text << Qt::endl;
    });
    QObject::connect(&socket, &QWebSocket::disconnected, [&] {
        if (leaving)
            return app.quit();
        const QString why = joined ? socket.closeReason() : QString(); // it keeps the last one
        note << "-- lost: " << (why.isEmpty() ? socket.errorString() : why) << Qt::endl;
        if (joined && socket.closeCode() >= 4500) // the server does not want us back
            return app.exit(1);
        joined = false;
        QTimer::singleShot(1000, &socket, [&] { socket.open(url); });
    });

    QFile input;
    input.open(0, QIODevice::ReadOnly | QIODevice::Unbuffered);
    QSocketNotifier typed(0, QSocketNotifier::Read);
    QObject::connect(&typed, &QSocketNotifier::activated, [&] {
        const QByteArray line = input.readLine();
        if (line.isEmpty()) { // Ctrl-D
            typed.setEnabled(false);
            leaving = true;
            socket.state() == QAbstractSocket::ConnectedState ? socket.close() : app.quit();
        } else if (socket.sendTextMessage(QString::fromUtf8(line.trimmed())) <= 0) {
            note << "-- not sent: there is no connection" << Qt::endl;
        }
    });
    socket.open(url);
    return app.exec();
}
