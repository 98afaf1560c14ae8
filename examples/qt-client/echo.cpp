// The classic echo client: says hello, prints the answer, leaves.
//
//   g++ -std=c++17 -fPIC echo.cpp -o echo $(pkg-config --cflags --libs Qt6WebSockets Qt6Core)
//   ./echo
//   ./echo ws://localhost:8888/echo "Bonjour"

#include <QCoreApplication>
#include <QTextStream>
#include <QUrl>
#include <QWebSocket>

int main(int argc, char *argv[])
{
    QCoreApplication app(argc, argv);
    const QUrl url(app.arguments().value(1, "ws://localhost:8888/echo"));
    const QString text = app.arguments().value(2, "Hello, world!");

    QWebSocket socket;
    bool answered = false;
    QObject::connect(&socket, &QWebSocket::connected, [&] { socket.sendTextMessage(text); });
    QObject::connect(&socket, &QWebSocket::textMessageReceived, [&](const QString &answer) {
        QTextStream(stdout) << answer << Qt::endl;
        answered = true;
        socket.close();
    });
    QObject::connect(&socket, &QWebSocket::disconnected, [&] {
        if (!answered)
            QTextStream(stderr) << url.toString() << ": " << socket.errorString() << Qt::endl;
        app.exit(answered ? 0 : 1);
    });
    socket.open(url);
    return app.exec();
}
