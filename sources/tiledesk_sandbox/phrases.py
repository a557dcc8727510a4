"""What people say on a made-up support desk, by language and topic.

A topic has openings by the customer, details given when asked, and the agent's solution.
``{order}``, ``{name}`` and ``{agent}`` are filled in.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Topic:
    """One reason to write in, in one language."""

    name: str
    tag: str
    openings: tuple[str, ...]
    details: tuple[str, ...]
    solutions: tuple[str, ...]


@dataclass(frozen=True)
class Language:
    """How a conversation sounds in one language."""

    code: str
    topics: tuple[Topic, ...]
    bot_hello: str
    bot_handover: str
    want_human: tuple[str, ...]
    hello: tuple[str, ...]
    ask: tuple[str, ...]
    checking: tuple[str, ...]
    waiting: tuple[str, ...]
    follow_up: tuple[str, ...]
    explain: tuple[str, ...]
    thanks: tuple[str, ...]
    goodbye: tuple[str, ...]
    praise: tuple[str, ...]
    blame: tuple[str, ...]
    note: tuple[str, ...]


ENGLISH = Language(
    code="en",
    topics=(
        Topic(
            "delivery", "delivery",
            ("Hi, where is my parcel? Order {order} should have arrived on Monday.",
             "My order {order} still says 'in transit' after nine days 😕",
             "The courier says delivered but I got nothing. Order {order}."),
            ("It's {order}, the address is the office one.", "Order number {order}, paid by card."),
            ("It is at the local depot, I have asked for a new delivery tomorrow before noon.",
             "The parcel was lost by the courier. I am sending a replacement today."),
        ),
        Topic(
            "refund", "refund",
            ("I returned order {order} two weeks ago and still no refund.",
             "Can I get my money back for {order}? It does not fit."),
            ("The return label was from {order}.", "I sent it back on the 3rd, order {order}."),
            ("The refund has left us today, your bank needs 3-5 working days.",
             "I have approved the refund to your original payment method."),
        ),
        Topic(
            "login", "account",
            ("I cannot log in, the reset mail never arrives.",
             "Your app logs me out every time I open it."),
            ("I use the same address I am writing from.", "Android, newest version of the app."),
            ("Your address was on our bounce list. I removed it, please try the reset again.",
             "We released a fix this morning, please update the app."),
        ),
        Topic(
            "invoice", "billing",
            ("I need an invoice with our VAT number for {order}.",
             "You charged me twice for {order}!"),
            ("The company is Example Trading, order {order}.", "Both charges are from yesterday."),
            ("The corrected invoice is in your inbox now.",
             "The second charge was only a reservation, it disappears within two days."),
        ),
        Topic(
            "order", "order",
            ("Can I change the size on order {order}?",
             "Please cancel {order}, I ordered the wrong colour."),
            ("From M to L please, order {order}.", "Just the blue one of {order}."),
            ("Done, you will get a new confirmation in a minute.",
             "It was already packed, but you can return it free of charge."),
        ),
        Topic(
            "product", "bug",
            ("The screen of my new device flickers, bought with {order}.",
             "Does the charger work with 110 volts?"),
            ("Serial number ends with 7781, order {order}.", "It happens when it is cold."),
            ("That is a known fault, I am opening a warranty case for you.",
             "Yes, it takes 100 to 240 volts."),
        ),
    ),
    bot_hello="Hi! I'm the assistant. Tell me in a few words how I can help.",
    bot_handover="Thanks. Let me put you through to a colleague.",
    want_human=("I want to talk to a person", "agent please", "that does not help"),
    hello=("Hello {name}, this is {agent}. Happy to help!", "Good morning {name}, {agent} here."),
    ask=("Could you give me the order number, please?", "Could you tell me a bit more?"),
    checking=("One moment, let me check.", "Thank you, I'm looking into it now."),
    waiting=("Are you still there?", "ok", "Take your time.", "??"),
    follow_up=("And how long will that take?", "Will I get an e-mail?", "Is that free of charge?"),
    explain=("Usually one working day, you get an e-mail.", "Yes, of course.", "No cost for you."),
    thanks=("Great, thank you!", "Thanks a lot 👍", "ok thanks", "Perfect, you made my day 😀"),
    goodbye=("You're welcome! Have a nice day.", "Glad I could help. Bye!"),
    praise=("Fast and friendly", "Very helpful, thank you", "Solved in five minutes", "👍"),
    blame=("Waited far too long", "Had to explain everything twice", "Not solved"),
    note=("Checked with the warehouse, stock is fine.", "Customer wrote about this before.",
          "Courier claim opened.", "Please call back on Thursday."),
)  # fmt: skip

ITALIAN = Language(
    code="it",
    topics=(
        Topic(
            "delivery", "delivery",
            ("Buongiorno, dov'è il mio pacco? L'ordine {order} doveva arrivare lunedì.",
             "Il tracking di {order} è fermo da una settimana 😕",
             "Il corriere dice consegnato ma non è arrivato niente. Ordine {order}."),
            ("È il {order}, l'indirizzo è quello di casa.", "Ordine {order}, pagato con carta."),
            ("È in deposito: ho chiesto una nuova consegna per domani mattina.",
             "Il corriere l'ha smarrito, oggi stesso ne spediamo un altro."),
        ),
        Topic(
            "refund", "refund",
            ("Ho reso l'ordine {order} due settimane fa e il rimborso non c'è ancora.",
             "Vorrei restituire {order}, la taglia è sbagliata."),
            ("L'etichetta era quella di {order}.", "L'ho spedito il giorno 3, ordine {order}."),
            ("Il rimborso è partito oggi, servono 3-5 giorni lavorativi.",
             "Ho approvato il rimborso sulla carta usata per pagare."),
        ),
        Topic(
            "login", "account",
            ("Non riesco ad accedere, la mail di recupero non arriva mai.",
             "L'app mi chiede la password ogni volta."),
            ("Uso lo stesso indirizzo da cui scrivo.", "iPhone, ultima versione dell'app."),
            ("L'indirizzo risultava bloccato, l'ho sbloccato: può riprovare?",
             "Stamattina è uscita la correzione, basta aggiornare l'app."),
        ),
        Topic(
            "invoice", "billing",
            ("Mi serve la fattura con la partita IVA per {order}.",
             "Mi avete addebitato due volte {order}!"),
            ("La ditta è Esempio Srl, ordine {order}.", "I due addebiti sono di ieri."),
            ("La fattura corretta è nella sua casella di posta.",
             "Il secondo addebito era solo una prenotazione, sparisce in due giorni."),
        ),
        Topic(
            "order", "order",
            ("Posso cambiare la taglia dell'ordine {order}?",
             "Vorrei annullare {order}, ho sbagliato colore."),
            ("Da M a L, ordine {order}.", "Solo quello blu di {order}."),
            ("Fatto, tra un minuto riceve la nuova conferma.",
             "Era già imballato, ma il reso è gratuito."),
        ),
    ),
    bot_hello="Ciao! Sono l'assistente virtuale, come posso aiutarti?",
    bot_handover="Grazie, ti passo subito un collega.",
    want_human=("vorrei parlare con un operatore", "operatore", "non mi hai capito"),
    hello=("Buongiorno {name}, sono {agent}. Come posso aiutarla?", "Salve {name}, qui {agent}."),
    ask=("Mi dà il numero d'ordine, per favore?", "Può darmi qualche dettaglio in più?"),
    checking=("Un attimo, controllo subito.", "Grazie, sto verificando."),
    waiting=("C'è nessuno?", "ok", "Va bene, aspetto.", "??"),
    follow_up=("E quanto ci vuole?", "Ricevo una mail?", "È gratuito?"),
    explain=("Di solito un giorno lavorativo, e riceverà una mail.", "Sì, certo.", "Nessun costo."),
    thanks=("Perfetto, grazie mille!", "Grazie 👍", "ok grazie", "Gentilissima 😀"),
    goodbye=("Di niente, buona giornata!", "A presto!"),
    praise=("Veloci e gentili", "Problema risolto subito", "Ottimo servizio", "👍"),
    blame=("Attesa troppo lunga", "Ho dovuto ripetere tutto", "Non risolto, peccato perché…"),
    note=("Sentito il magazzino, disponibilità ok.", "Cliente già in contatto ieri.",
          "Aperta pratica col corriere.", "Da richiamare giovedì."),
)  # fmt: skip

SPANISH = Language(
    code="es",
    topics=(
        Topic(
            "delivery", "delivery",
            ("Hola, ¿dónde está mi paquete? El pedido {order} tenía que llegar el lunes.",
             "El pedido {order} lleva nueve días en tránsito 😕"),
            ("Es el {order}, dirección de la oficina.", "Pedido {order}, pagado con tarjeta."),
            ("Está en el almacén local, mañana lo entregan antes de las doce.",
             "El transportista lo perdió; hoy enviamos otro."),
        ),
        Topic(
            "refund", "refund",
            ("Devolví el pedido {order} hace dos semanas y no veo el reembolso.",
             "¿Puedo devolver {order}? Me queda pequeño."),
            ("La etiqueta era de {order}.", "Lo envié el día 3, pedido {order}."),
            ("El reembolso salió hoy, el banco tarda de 3 a 5 días.",
             "He aprobado el reembolso a su tarjeta."),
        ),
        Topic(
            "login", "account",
            ("No puedo iniciar sesión, el correo de recuperación no llega.",
             "La aplicación me pide la contraseña cada vez."),
            ("Uso este mismo correo.", "Android, última versión."),
            ("Su dirección estaba bloqueada; ya puede volver a intentarlo.",
             "Hoy publicamos la corrección, actualice la aplicación."),
        ),
        Topic(
            "invoice", "billing",
            ("Necesito factura con NIF del pedido {order}.", "¡Me cobraron dos veces {order}!"),
            ("La empresa es Ejemplo SL, pedido {order}.", "Los dos cargos son de ayer."),
            ("La factura corregida está en su correo.",
             "El segundo cargo es una retención y desaparece en dos días."),
        ),
    ),
    bot_hello="¡Hola! Soy el asistente. ¿En qué puedo ayudarte?",
    bot_handover="Gracias, te paso con una persona.",
    want_human=("quiero hablar con una persona", "agente por favor", "eso no me sirve"),
    hello=("Hola {name}, soy {agent}, encantado de ayudarle.", "Buenos días {name}, soy {agent}."),
    ask=("¿Me da el número de pedido, por favor?", "¿Me puede dar más detalles?"),
    checking=("Un momento, lo compruebo.", "Gracias, lo estoy mirando."),
    waiting=("¿Sigue ahí?", "vale", "Espero.", "??"),
    follow_up=("¿Y cuánto tarda?", "¿Me avisan por correo?", "¿Es gratis?"),
    explain=("Normalmente un día laborable, le llegará un correo.", "Sí, claro.", "Sin coste."),
    thanks=("¡Genial, muchas gracias!", "Gracias 👍", "vale, gracias", "Perfecto 😀"),
    goodbye=("De nada, ¡que tenga buen día!", "¡Hasta pronto!"),
    praise=("Rápidos y amables", "Muy útil", "Resuelto enseguida"),
    blame=("Demasiada espera", "Tuve que explicarlo dos veces"),
    note=("Consultado con almacén.", "Ya escribió la semana pasada.", "Llamar el jueves."),
)  # fmt: skip

FRENCH = Language(
    code="fr",
    topics=(
        Topic(
            "delivery", "delivery",
            ("Bonjour, où est mon colis ? La commande {order} devait arriver lundi.",
             "Le suivi de {order} n'a pas bougé depuis une semaine 😕"),
            ("C'est la {order}, livraison au bureau.", "Commande {order}, payée par carte."),
            ("Il est au dépôt, nouvelle livraison demain avant midi.",
             "Le transporteur l'a perdu, nous en renvoyons un aujourd'hui."),
        ),
        Topic(
            "refund", "refund",
            ("J'ai retourné {order} il y a deux semaines, toujours pas de remboursement.",
             "Puis-je être remboursé pour {order} ? La taille ne va pas."),
            ("L'étiquette venait de {order}.", "Renvoyé le 3, commande {order}."),
            ("Le remboursement est parti aujourd'hui, comptez 3 à 5 jours ouvrés.",
             "J'ai validé le remboursement sur votre carte."),
        ),
        Topic(
            "invoice", "billing",
            ("Il me faut une facture avec n° de TVA pour {order}.",
             "Vous m'avez débité deux fois pour {order} !"),
            ("La société s'appelle Exemple SARL, commande {order}.", "Deux débits, hier."),
            ("La facture corrigée est dans votre boîte mail.",
             "Le second débit est une réservation, il disparaîtra sous deux jours."),
        ),
    ),
    bot_hello="Bonjour ! Je suis l'assistant. Comment puis-je vous aider ?",
    bot_handover="Merci, je vous passe un collègue.",
    want_human=("je veux parler à quelqu'un", "un conseiller svp"),
    hello=("Bonjour {name}, ici {agent}, je vous écoute.", "Bonjour {name}, {agent} à l'écoute."),
    ask=("Pouvez-vous me donner le numéro de commande ?", "Pouvez-vous préciser ?"),
    checking=("Un instant, je vérifie.", "Merci, je regarde."),
    waiting=("Vous êtes là ?", "d'accord", "J'attends."),
    follow_up=("Cela prendra combien de temps ?", "Je recevrai un e-mail ?"),
    explain=("En général un jour ouvré, vous recevrez un e-mail.", "Oui, bien sûr."),
    thanks=("Parfait, merci beaucoup !", "Merci 👍", "ok merci"),
    goodbye=("Je vous en prie, bonne journée !", "À bientôt !"),
    praise=("Rapide et aimable", "Très à l'écoute", "Réglé tout de suite"),
    blame=("Trop d'attente", "Pas résolu, dommage"),
    note=("Vérifié avec l'entrepôt.", "Déjà écrit la semaine dernière."),
)  # fmt: skip

GERMAN = Language(
    code="de",
    topics=(
        Topic(
            "delivery", "delivery",
            ("Hallo, wo bleibt mein Paket? Bestellung {order} sollte Montag da sein.",
             "{order} ist seit neun Tagen unterwegs 😕"),
            ("Es ist die {order}, Lieferung ins Büro.", "Bestellung {order}, mit Karte bezahlt."),
            ("Es liegt im Depot, morgen Vormittag kommt ein neuer Zustellversuch.",
             "Das Paket ging verloren, heute geht Ersatz raus."),
        ),
        Topic(
            "refund", "refund",
            ("Ich habe {order} vor zwei Wochen zurückgeschickt, aber kein Geld bekommen.",
             "Kann ich {order} zurückgeben? Die Größe passt nicht."),
            ("Das Etikett war von {order}.", "Am 3. abgeschickt, Bestellung {order}."),
            ("Die Erstattung ist heute raus, die Bank braucht 3-5 Werktage.",
             "Ich habe die Erstattung auf Ihre Karte freigegeben."),
        ),
        Topic(
            "login", "account",
            ("Ich komme nicht rein, die Mail zum Zurücksetzen kommt nie an.",
             "Die App meldet mich ständig ab."),
            ("Dieselbe Adresse, von der ich schreibe.", "Android, neueste Version."),
            ("Ihre Adresse war gesperrt, bitte versuchen Sie es noch einmal.",
             "Heute früh kam ein Update, damit ist es behoben."),
        ),
    ),
    bot_hello="Hallo! Ich bin der Assistent. Wie kann ich helfen?",
    bot_handover="Danke, ich verbinde Sie.",
    want_human=("Ich möchte mit einem Menschen sprechen", "Mitarbeiter bitte"),
    hello=("Guten Tag {name}, hier ist {agent}.", "Hallo {name}, {agent} hier, gern!"),
    ask=("Nennen Sie mir bitte die Bestellnummer?", "Können Sie das genauer beschreiben?"),
    checking=("Einen Moment, ich prüfe das.", "Danke, ich sehe nach."),
    waiting=("Sind Sie noch da?", "ok", "Ich warte."),
    follow_up=("Wie lange dauert das?", "Bekomme ich eine Mail?"),
    explain=("In der Regel einen Werktag, Sie bekommen eine Mail.", "Ja, natürlich."),
    thanks=("Super, vielen Dank!", "Danke 👍", "ok danke"),
    goodbye=("Gern geschehen, schönen Tag noch!", "Auf Wiedersehen!"),
    praise=("Schnell und freundlich", "Sehr kompetent", "Sofort gelöst"),
    blame=("Viel zu lange gewartet", "Musste alles zweimal erklären"),
    note=("Mit dem Lager geklärt.", "Kunde hat schon letzte Woche geschrieben."),
)  # fmt: skip

JAPANESE = Language(
    code="ja",
    topics=(
        Topic(
            "delivery", "delivery",
            ("注文番号 {order} の荷物がまだ届きません。", "{order} の配送状況を教えてください 🙏"),
            ("{order} です。住所は東京のオフィスです。",),
            ("明日の午前中に再配達いたします。", "紛失のため、本日代わりの品を発送します。"),
        ),
        Topic(
            "refund", "refund",
            ("{order} を返品しましたが、返金がまだです。",),
            ("返品したのは先週です。注文番号は {order} です。",),
            ("本日返金いたしました。3〜5営業日お待ちください。",),
        ),
    ),
    bot_hello="こんにちは！アシスタントです。ご用件をどうぞ。",
    bot_handover="担当者におつなぎします。",
    want_human=("担当者と話したいです",),
    hello=("{name} 様、担当の {agent} です。",),
    ask=("注文番号を教えていただけますか？",),
    checking=("確認いたします。少々お待ちください。",),
    waiting=("まだですか？", "はい"),
    follow_up=("どのくらいかかりますか？",),
    explain=("通常1営業日です。",),
    thanks=("ありがとうございます 😀", "助かりました"),
    goodbye=("良い一日をお過ごしください。",),
    praise=("とても親切でした", "対応が早い"),
    blame=("待ち時間が長い",),
    note=("倉庫に確認済み。",),
)  # fmt: skip

LANGUAGES = (ITALIAN, ENGLISH, SPANISH, FRENCH, GERMAN, JAPANESE)
LANGUAGE_WEIGHTS = (34, 30, 14, 9, 9, 4)

FIRST_NAMES = (
    "Anna", "Bruno", "Chiara", "Davide", "Elena", "Franco", "Giulia", "Hugo", "Irene", "Jonas",
    "Kenji", "Laura", "Marco", "Nina", "Olivier", "Paula", "Quentin", "Rosa", "Stefan", "Tina",
    "Ugo", "Vera", "Walter", "Ximena", "Yuki", "Zoë", "Álvaro", "Łukasz", "Naïma", "Søren",
)  # fmt: skip
LAST_NAMES = (
    "Rossi", "Bianchi", "Verdi", "Esposito", "García", "López", "Müller", "Schäfer", "Dupont",
    "Lefèvre", "Smith", "Jones", "O'Neill", "Nowak", "Tanaka", "Sato", "Öztürk", "Andersson",
    "van den Berg", "Ricci", "Romano", "Costa", "Ferrari", "Moretti", "Fontana", "Silva",
)  # fmt: skip
PLACES = (
    ("IT", "Milano", "Lombardia", 9.19, 45.46), ("IT", "Bari", "Puglia", 16.87, 41.12),
    ("GB", "Leeds", "England", -1.55, 53.8), ("ES", "Valencia", "Comunitat", -0.38, 39.47),
    ("FR", "Lyon", "Auvergne-Rhône-Alpes", 4.84, 45.76), ("DE", "Köln", "Rheinland", 6.96, 50.94),
    ("JP", "東京", "東京都", 139.69, 35.69), ("US", "Portland", "Oregon", -122.68, 45.52),
)  # fmt: skip
BROWSERS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/126.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1 Mobile/15E148",
    "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
)  # fmt: skip
