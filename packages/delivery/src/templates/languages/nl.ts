import type { Language } from '../situations.ts';

const hello = 'Beste <$user_name$>,';
const goodbye = '<$company_name$>\nDit bericht is automatisch verstuurd.';
const notMe =
  'Was u dit niet? Meld het direct bij uw beheerder.\n' +
  'Of meld het zelf, eenmalig, met deze link: <$not_me_link$>';
const portal = 'Uw instellingen: <$link$>';

const toUser = (text: string) => `${hello}\n\n${text}\n\n${goodbye}`;
const toAdministrators = (text: string) => `${text}\n\nKijk hier: <$link$>\n\n${goodbye}`;

export const language: Language = {
  code: 'nl',
  name: 'Nederlands',
  locale: 'nl-NL',
  texts: {
    oneTimeCode:
      '<$company_name$>: uw code voor <$application_name$> is <$code$>. ' +
      'Deze is <$expiry_minutes$> minuten geldig.',
    oneTimeCodeAndPin:
      '<$company_name$>: uw code voor <$application_name$> is <$code$>. ' +
      'Typ die binnen <$expiry_minutes$> minuten, gevolgd door uw pincode.',
    replyWithCode:
      '<$company_name$>: antwoord binnen <$expiry_minutes$> minuten met <$code$> ' +
      'om u aan te melden bij <$application_name$>.',
    replyWithCodeAndPin:
      '<$company_name$>: antwoord binnen <$expiry_minutes$> minuten met <$code$> gevolgd door ' +
      'uw pincode om u aan te melden bij <$application_name$>.',
    phoneReplaced:
      '<$company_name$>: morgen wordt uw telefoon het nummer dat eindigt op <$phone_ending$>. ' +
      'Klopt dat niet? Bel de helpdesk.',
  },
  mails: {
    phonesImported: {
      subject: 'Verificatie in twee stappen bij <$company_name$>',
      body: toUser(
        'Vanaf nu bevestigt u bij het aanmelden met uw telefoon dat u het bent. ' +
          'Wij gebruiken het nummer dat eindigt op <$phone_ending$>.\n\n' +
          'Is dat niet uw nummer? Meld het dan bij uw beheerder voordat u zich aanmeldt.\n' +
          portal,
      ),
    },
    completeEnrolment: {
      subject: 'Stel uw verificatie in twee stappen in',
      body: toUser(
        'Uw account heeft verificatie in twee stappen nodig voordat u zich kunt aanmelden.\n\n' +
          'Stel die hier in, voor <$expires$>:\n<$link$>\n\n' +
          'Uw registratiecode, die eenmaal werkt: <$enrolment_code$>\n\n' +
          'Stuur dit bericht niet door: wie het heeft, kan uw account instellen.',
      ),
    },
    enrolmentCode: {
      subject: 'Uw registratiecode voor verificatie in twee stappen',
      body: toUser(
        'Uw registratiecode is <$enrolment_code$>\n\n' +
          'Deze werkt eenmaal, en tot <$expires$>.\n' +
          'Gebruik de code hier: <$link$>\n\n' +
          'Niemand van <$company_name$> zal u er ooit om vragen.',
      ),
    },
    enrolledForCall: {
      subject: 'U verifieert voortaan met een telefoongesprek',
      body: toUser(
        'Als u zich aanmeldt, gaat uw telefoon (het nummer dat eindigt op <$phone_ending$>). ' +
          'Neem op en druk op #.\n\n' +
          'Een oproep die u niet verwachtte? Hang op en meld het bij uw beheerder.\n' +
          portal,
      ),
    },
    enrolledForText: {
      subject: 'U verifieert voortaan met een sms-bericht',
      body: toUser(
        'Als u zich aanmeldt, komt er een sms-bericht met een code op het nummer dat eindigt op ' +
          '<$phone_ending$>. Typ die code.\n\n' +
          'Een code waar u niet om vroeg? Geef die aan niemand en meld het bij uw beheerder.\n' +
          portal,
      ),
    },
    enrolledForApp: {
      subject: 'U verifieert voortaan met de app',
      body: toUser(
        'Als u zich aanmeldt, vraagt de app op uw telefoon om uw goedkeuring.\n\n' +
          'Een vraag die u niet verwachtte? Weiger die en meld het bij uw beheerder.\n' +
          portal,
      ),
    },
    enrolledForToken: {
      subject: 'U verifieert voortaan met een code',
      body: toUser(
        'Als u zich aanmeldt, typt u de code die uw token of authenticator-app toont.\n' +
          'De naam ervan: <$authenticator_name$>\n\n' +
          'Geef zo’n code aan niemand, wie er ook om vraagt.\n' +
          portal,
      ),
    },
    initialPin: {
      subject: 'Uw pincode voor verificatie in twee stappen',
      body: toUser(
        'Uw eerste pincode is <$pin$>\n\n' +
          'U kiest een andere als u deze voor het eerst gebruikt. Verwijder dit bericht daarna.\n' +
          portal,
      ),
    },
    authenticatorAdded: {
      subject: 'Er is een authenticator aan uw account toegevoegd',
      body: toUser(
        'Er is op <$when$> een authenticator aan uw account toegevoegd.\n' +
          'Naam: <$authenticator_name$>\nMethode: <$method_name$>\n\n' +
          notMe,
      ),
    },
    authenticatorRemoved: {
      subject: 'Er is een authenticator van uw account verwijderd',
      body: toUser(
        'Er is op <$when$> een authenticator van uw account verwijderd.\n' +
          'Naam: <$authenticator_name$>\nMethode: <$method_name$>\n\n' +
          notMe,
      ),
    },
    phoneChanged: {
      subject: 'Het telefoonnummer van uw account is gewijzigd',
      body: toUser(
        'Het telefoonnummer van uw account is gewijzigd op <$when$>.\n' +
          'Het nieuwe eindigt op <$phone_ending$>.\n\n' +
          notMe,
      ),
    },
    pinChanged: {
      subject: 'De pincode van uw account is gewijzigd',
      body: toUser(`De pincode van uw account is gewijzigd op <$when$>.\n\n${notMe}`),
    },
    methodChanged: {
      subject: 'Uw manier van verifiëren is gewijzigd',
      body: toUser(
        'De manier waarop u bij het aanmelden verifieert is gewijzigd op <$when$>.\n' +
          'De nieuwe methode: <$method_name$>\n\n' +
          notMe,
      ),
    },
    fraudReported: {
      subject: 'Fraude gemeld door <$user_name$>',
      body: toAdministrators(
        '<$user_name$> kreeg een verzoek om een aanmelding te verifiëren die niet van hem of haar ' +
          'was, en meldde dat op <$when$>.\n\n' +
          'Methode: <$method_name$>\nToepassing: <$application_name$>\nNode: <$server_name$>\n\n' +
          'Iemand kent mogelijk het wachtwoord van dit account.',
      ),
    },
    userLockedOut: {
      subject: 'Vergrendeld: <$user_name$>',
      body: toAdministrators(
        '<$user_name$> is vergrendeld op <$when$>.\n\n' +
          'Reden: <$reason$>\nToepassing: <$application_name$>\nNode: <$server_name$>',
      ),
    },
    administratorRecovered: {
      subject: 'Een eigenaar is op de machine uitgenodigd: <$user_name$>',
      body: toAdministrators(
        'Op <$when$> heeft iemand op de machine van <$server_name$> <$user_name$> uitgenodigd als ' +
          'eigenaar, die alles mag zodra de uitnodiging is aangenomen.\n\n' +
          'Heeft niemand van u dat bedoeld, verwijder <$user_name$> dan en zoek uit wie er op die ' +
          'machine was.',
      ),
    },
    approvalNeeded: {
      subject: 'Goedkeuring nodig: <$count$> gebruikers van <$directory_name$>',
      body: toAdministrators(
        'De synchronisatie met <$directory_name$> van <$when$> zou <$count$> gebruikers ' +
          'uitschakelen of verwijderen, meer dan de <$limit$> die zonder toestemming mogen.\n\n' +
          'Er is niets gewijzigd. Bekijk de lijst en keur die goed of af.',
      ),
    },
    textBudgetAlarm: {
      subject: 'Veel sms-berichten: <$budget_name$>',
      body: toAdministrators(
        'Het budget van sms-berichten voor <$budget_name$>, <$limit$> per uur, is bereikt of bijna ' +
          'op (<$when$>).\nNode: <$server_name$>\n\n' +
          'Wat daarboven komt wordt geweigerd. Als niets zoveel aanmeldingen verklaart, verdient ' +
          'iemand misschien geld aan uw sms-berichten.',
      ),
    },
    testMail: {
      subject: 'Test van de mailinstellingen',
      body: `Deze mail laat zien dat <$company_name$> mail kan versturen (<$when$>).\nNode: <$server_name$>`,
    },
  },
};
